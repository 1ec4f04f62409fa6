"""From the arguments of a check to its equation, or to what becomes of it at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms import is_array, is_array_like
from runtime_checks._failure.exceptions import EquinoxTracetimeError
from runtime_checks._jax import Tracer
from runtime_checks._on_error import mode_of
from runtime_checks._user_frames import places

from .debugger_scope import Scope
from .primitive import Check, check_p


def predicate_of(pred: Any) -> Any:
    """A predicate as an array of bools.

    **Raises:** `TypeError` if it is neither an array nor a number.
    """
    if not is_array_like(pred):
        raise TypeError(
            f"`pred` must be a bool or an array of them; got a {type(pred).__name__}: {pred!r}."
        )
    array: Any = pred  # `Tracer` is a bare `type` to the checker
    if isinstance(array, (Tracer, jax.Array)):
        return array if array.dtype == bool else array != jnp.zeros((), array.dtype)
    return np.asarray(array).astype(bool)


def check_tree(
    x: Any,
    pred: Any,
    messages: tuple[str, ...],
    on_error: str,
    index: Any = None,
    *,
    kept: bool = True,
) -> Any:
    """`x`, checked: the common part of the functions that return what they are given."""
    mode = mode_of(on_error)
    if mode == "off":
        return x
    predicate = predicate_of(pred)
    if isinstance(predicate, np.ndarray) and not predicate.any():
        return x
    arrays = list(filter(is_array, jtu.tree_leaves(x)))
    indices = [] if index is None else [index]
    in_program = _any_traced([predicate, *indices, *arrays])
    fails_now = _is_known_to_fail(predicate, indices, in_program)
    _require_arrays(arrays, may_be_none=fails_now and mode != "nan")
    if mode == "nan":
        return _with_nan(x, predicate)
    if fails_now:
        fail_now(predicate, indices, messages, mode)
    if not in_program and not bool(jnp.any(predicate)):
        return x
    through = [jnp.asarray(array) for array in arrays]
    checked = iter(bind(predicate, through, messages, mode, indices, kept=kept))
    return jtu.tree_map(lambda leaf: next(checked) if is_array(leaf) else leaf, x)


def _any_traced(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Tracer) for value in values)


def _require_arrays(arrays: Sequence[Any], may_be_none: bool) -> None:
    if not arrays and not may_be_none:
        raise ValueError(
            "No arrays to thread error on to. `error_if(x, ...)` needs at least one array in `x`, "
            "and the caller has to use what it returns."
        )


def _is_known_to_fail(predicate: Any, indices: Sequence[Any], in_program: bool) -> bool:
    """Whether a check fails for certain, before the program that is traced runs.

    `predicate` is true somewhere if it is an array of NumPy.
    """
    if _any_traced([predicate, *indices]):
        return False
    if isinstance(predicate, np.ndarray) and not any(isinstance(i, jax.Array) for i in indices):
        return True
    # An array that the traced function did not compute. Under `jit`, a reduction of it is traced;
    # what `grad` and `vmap` do without `jit` is no tracing in this sense: there is no program.
    return (
        in_program
        and bool(np.any(np.asarray(predicate)))
        and isinstance(jnp.any(predicate), Tracer)
    )


def bind(
    predicate: Any,
    through: Sequence[Any],
    messages: tuple[str, ...],
    mode: str,
    indices: Sequence[Any] = (),
    shown: Mapping[str, Any] | None = None,
    *,
    kept: bool = True,
) -> list[Any]:
    """Puts a check into the program that is traced; outside of one, it runs at once."""
    shown = {} if shown is None else shown
    scope = Scope() if mode == "breakpoint" else None
    by_hand = kept and len(through) > 0
    check = Check(messages, places(), tuple(shown), scope, kept, by_hand)
    values = [*indices, *shown.values(), *([] if scope is None else scope.detach())]
    return check_p.bind(
        jnp.asarray(predicate), *map(_as_array, values), *through, check=check, mapped=0
    )


def _as_array(x: Any) -> Any:
    x = x if isinstance(x, (Tracer, jax.Array)) else jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(x)
    return x


def fail_now(
    predicate: Any,
    indices: Sequence[Any],
    messages: tuple[str, ...],
    mode: str,
    shown: Mapping[str, Any] | None = None,
) -> None:
    """Raises the error of a check that is known to fail while the program is traced."""
    shown = {} if shown is None else shown
    check = Check(messages, places(), tuple(shown))
    if mode == "breakpoint":
        scope = Scope()
        scope.visit(scope.detach())
    error = check.error(check.seen(predicate, [*indices, *shown.values()]))
    raise EquinoxTracetimeError(*error.__reduce__()[1])


def _with_nan(x: Any, predicate: Any) -> Any:
    failed = jnp.any(predicate)

    def one(leaf: Any) -> Any:
        if is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact):
            leaf = jnp.asarray(leaf)
            return jnp.where(failed, jnp.full_like(leaf, jnp.nan), leaf)
        return leaf

    return jtu.tree_map(one, x)
