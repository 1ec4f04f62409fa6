"""How run-time checks make themselves known: a program that has one is waited for."""

from collections.abc import Callable
from typing import Any

from ._jax import is_concrete, sub_jaxprs

_CHECKS: dict[Any, Callable[[Exception], BaseException | None]] = {}


def register_check(primitive: Any, translate: Callable[[Exception], BaseException | None]) -> None:
    """Makes `filter_jit` wait for the programs that contain `primitive`, and report its failure.

    A program without such a primitive is never waited for. Whether a program has one is read from
    the program itself, once per compilation, inner jitted functions and loops included.

    **Arguments:**

    - `primitive`: a `jax.extend.core.Primitive` that makes the program fail while it runs.
    - `translate`: called with the exception that the failed program raised. Returns the exception
        to raise in its place, or `None` if the failure is none of its own.

    Registering a primitive again replaces its `translate`.
    """
    _CHECKS[primitive] = translate


def any_checks() -> bool:
    """Whether a check was ever registered."""
    return len(_CHECKS) > 0


def has_checks(jaxpr: Any) -> bool:
    """Whether a registered primitive is anywhere in `jaxpr`."""
    seen: set[int] = set()
    todo = [jaxpr]
    while todo:
        current = todo.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        for eqn in current.eqns:
            if eqn.primitive in _CHECKS:
                return True
            todo.extend(sub_jaxprs(eqn.params))
    return False


def translated(error: Exception) -> BaseException | None:
    """What the checks make of the exception with which a program failed."""
    for translate in _CHECKS.values():
        found = translate(error)
        if found is not None:
            return found
    return None


def wait(arrays: list[Any]) -> None:
    """Waits for arrays, as far as they are not traced."""
    for array in arrays:
        if is_concrete(array):
            array.block_until_ready()
