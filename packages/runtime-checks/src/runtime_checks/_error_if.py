"""`error_if`: an exception if a predicate, computed by the program, is true."""

import os
from typing import Any, Literal

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms import is_array, is_array_like

from ._check import Check, check_p
from ._errors import EquinoxTracetimeError, user_location
from ._jax import Tracer

_MODES = ("raise", "breakpoint", "nan", "off")


def _mode(on_error: str) -> str:
    if on_error == "default":
        on_error = os.environ.get("EQX_ON_ERROR", "raise")
        source = "the environment variable `EQX_ON_ERROR`"
    else:
        source = "`on_error`"
    if on_error not in _MODES:
        raise RuntimeError(
            f"Unrecognised value for `on_error`. Got {on_error!r} from {source}; expected "
            f"'default' or one of {', '.join(map(repr, _MODES))}."
        )
    return on_error


def _predicate(pred: Any) -> Any:
    if not is_array_like(pred):
        raise TypeError(
            f"`pred` must be a bool or an array of them; got a {type(pred).__name__}: {pred!r}."
        )
    if isinstance(pred, (Tracer, jax.Array)):
        return pred if pred.dtype == bool else pred != jnp.zeros((), pred.dtype)
    return np.asarray(pred).astype(bool)


def _with_nan(x: Any, predicate: Any) -> Any:
    failed = jnp.any(predicate)

    def one(leaf: Any) -> Any:
        if is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact):
            leaf = jnp.asarray(leaf)
            return jnp.where(failed, jnp.full_like(leaf, jnp.nan), leaf)
        return leaf

    return jtu.tree_map(one, x)


def error_if(
    x: Any,
    pred: Any,
    msg: str,
    *,
    on_error: Literal["default", "raise", "breakpoint", "nan", "off"] = "default",
) -> Any:
    """Returns `x`, and raises an exception with the text `msg` if any element of `pred` is true.

    The check is part of the computation of `x`: use what is returned, since a check whose result
    nobody needs is left out. It works eagerly, under `filter_jit` and `jax.jit`, and inside `vmap`,
    `grad`, `scan`, `while_loop`, `cond`.

    **Arguments:**

    - `x`: any PyTree with at least one array in it.
    - `pred`: a `bool`, or a boolean array of any shape.
    - `msg`: the text of the error.
    - `on_error`: `"raise"` an exception; `"breakpoint"`: open the debugger, then raise; `"nan"`:
        no exception, but NaN in all floating-point arrays of `x`; `"off"`: no check. `"default"` is
        what the environment variable `EQX_ON_ERROR` says when the check is traced, else `"raise"`.

    **Returns:** `x`.

    **Raises:**

    - `EquinoxRuntimeError` from the failing call, if it is eager or to a `filter_jit`-ed function.
        A function of plain `jax.jit` raises JAX's own exception, which contains the text.
    - `EquinoxTracetimeError`, a subclass, if the predicate is known while tracing.
    - `ValueError` if `x` has no array.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit
    from runtime_checks import EquinoxRuntimeError, error_if

    @filter_jit
    def root(x):
        x = error_if(x, x < 0, "root of a negative number")
        return jnp.sqrt(x)

    assert root(jnp.array(4.0)) == 2.0
    try:
        root(jnp.array(-4.0))
    except EquinoxRuntimeError as error:
        assert error.message == "root of a negative number"
    ```
    """
    mode = _mode(on_error)
    if mode == "off":
        return x
    predicate = _predicate(pred)
    leaves, treedef = jtu.tree_flatten(x)
    arrays = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    check = Check(msg, user_location(), mode == "breakpoint")
    if isinstance(predicate, np.ndarray) and not predicate.any():
        return x
    if len(arrays) == 0:
        raise ValueError(
            "No arrays to thread error on to. `error_if(x, ...)` needs at least one array in `x`, "
            "and the caller has to use what it returns."
        )
    if mode == "nan":
        return _with_nan(x, predicate)
    if isinstance(predicate, np.ndarray):
        if check.debug:
            breakpoint()
        error = check.error(predicate)
        raise EquinoxTracetimeError(error.message, error.check_location, error.index)
    checked = check_p.bind(predicate, *(jnp.asarray(leaves[i]) for i in arrays), check=check)
    for i, leaf in zip(arrays, checked, strict=True):
        leaves[i] = leaf
    return treedef.unflatten(leaves)
