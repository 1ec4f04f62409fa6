"""`breakpoint_if`: JAX's debugger, on a condition."""

from typing import Any

import jax
import jax.numpy as jnp

from filtered_transforms.extend import unvmap_any
from runtime_checks._types import Pred
from tree_surgery.extend import public


@public
def breakpoint_if(pred: Pred, **kwargs: Any) -> None:
    """Opens `jax.debug.breakpoint` if any element of `pred` is true, mapped ones included.

    **Arguments:**

    - `pred`: a bool, or an array of them.
    - `**kwargs`: passed on to `jax.debug.breakpoint`. With `num_frames=1` it keeps the values of
        the caller only; else those of all frames on the stack, of a notebook or pytest too, and
        each of them that is no PyTree costs JAX a little of Python's recursion limit.

    ```python
    import jax.numpy as jnp
    from runtime_checks.debug import breakpoint_if

    x = jnp.array([1.0, 2.0])
    breakpoint_if(jnp.isnan(x), num_frames=1)  # nothing happens
    ```
    """
    pred = jnp.asarray(pred)
    pred = pred if pred.dtype == bool else pred != jnp.zeros((), pred.dtype)

    def stop() -> None:
        jax.debug.breakpoint(**kwargs)

    jax.lax.cond(unvmap_any(pred), stop, lambda: None)
