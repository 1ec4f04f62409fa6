"""`breakpoint_if`: JAX's debugger, on a condition."""

from typing import Any

import jax
import jax.numpy as jnp

from runtime_checks._jax import any_primitive
from runtime_checks._types import Pred
from tree_surgery.extend import public

_any_p = any_primitive("any_of_all")


@public
def breakpoint_if(pred: Pred, **kwargs: Any) -> None:
    """Opens `jax.debug.breakpoint` if any element of `pred` is true, mapped ones included.

    **Arguments:**

    - `pred`: a bool, or an array of them.
    - `**kwargs`: passed on to `jax.debug.breakpoint`.

    ```python
    import jax.numpy as jnp
    from runtime_checks.debug import breakpoint_if

    x = jnp.array([1.0, 2.0])
    breakpoint_if(jnp.isnan(x))  # nothing happens
    ```
    """
    pred = jnp.asarray(pred)
    pred = pred if pred.dtype == bool else pred != jnp.zeros((), pred.dtype)

    def stop() -> None:
        jax.debug.breakpoint(**kwargs)

    jax.lax.cond(_any_p.bind(pred), stop, lambda: None)
