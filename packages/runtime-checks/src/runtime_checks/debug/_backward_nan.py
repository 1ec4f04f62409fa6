"""`backward_nan`: NaN that appears on the way back only."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms import combine, filter_custom_vjp, is_array, is_inexact_array, partition
from runtime_checks._error_if import error_if
from runtime_checks._types import T
from tree_surgery.extend import public


@public
def backward_nan(x: T, name: str | None = None, terminate: bool = True) -> T:
    """Returns `x`, and prints it with its cotangent when the gradient passes through here.

    **Arguments:**

    - `x`: any PyTree. Its floating-point arrays are looked at.
    - `name`: printed in front, to tell several apart.
    - `terminate`: whether a NaN in the cotangent is an error, by `error_if`: so `EQX_ON_ERROR` and
        `checks` say what happens then.

    **Returns:** `x`.

    **Raises:** `EquinoxRuntimeError` if `terminate` and the cotangent has a NaN.

    ```python
    import jax
    import jax.numpy as jnp
    from runtime_checks.debug import backward_nan

    def f(x):
        return jnp.where(x > 0, jnp.sqrt(backward_nan(x, "x", terminate=False)), 0.0)

    jax.grad(f)(jnp.array(0.0))  # prints the primal, 0, and the cotangent, NaN
    ```
    """
    dynamic, static = partition(x, is_inexact_array)
    return combine(_watched(dynamic, name, terminate), static)


@filter_custom_vjp
def _watched(x: Any, name: str | None, terminate: bool) -> Any:
    return x


@_watched.def_fwd
def _forward(perturbed: Any, x: Any, name: str | None, terminate: bool) -> Any:
    return x, x


@_watched.def_bwd
def _backward(
    residuals: Any, cotangents: Any, perturbed: Any, x: Any, name: str | None, terminate: bool
) -> Any:
    leaves = jtu.tree_leaves(cotangents)
    if not leaves:
        return cotangents
    _show(name, residuals, cotangents)
    if terminate:
        has_nan = jnp.any(jnp.stack([jnp.any(jnp.isnan(leaf)) for leaf in leaves]))
        return error_if(cotangents, has_nan, "Encountered NaN")
    return cotangents


def _show(name: str | None, primals: Any, cotangents: Any) -> None:
    arrays, rest = partition((primals, cotangents), is_array)

    def show(arrays: Any) -> None:
        primals, cotangents = combine(arrays, rest)
        head = "" if name is None else f"{name}:\n"
        print(f"{head}   primals={primals!r}\ncotangents={cotangents!r}")

    jax.debug.callback(show, arrays)
