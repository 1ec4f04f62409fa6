"""The primitive behind every check, and how its failure gets from the device to the caller."""

import dataclasses
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from filtered_transforms.extend import register_check

from ._errors import EquinoxRuntimeError
from ._jax import callback_primitive, identity_primitive

_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """What a check says, where it stands, and whether it opens the debugger first."""

    message: str
    location: str
    debug: bool = False

    def error(self, predicate: Any) -> EquinoxRuntimeError:
        """The exception for a predicate that is true somewhere."""
        failed = np.argwhere(np.asarray(predicate))
        if np.ndim(predicate) == 0:
            return EquinoxRuntimeError(self.message, self.location)
        index = tuple(tuple(map(int, row)) for row in failed[:_SHOWN])
        shown = ", ".join(str(row[0] if len(row) == 1 else row) for row in index)
        more = ", ..." if len(failed) > _SHOWN else ""
        note = f"\nIt failed for {len(failed)} of {np.size(predicate)} elements, at {shown}{more}."
        return EquinoxRuntimeError(self.message, self.location, index, note)


def _fail(predicate: Any, check: Check) -> EquinoxRuntimeError:
    if check.debug:
        breakpoint()
    return check.error(predicate)


class _Failures:
    # A failed program raises an exception of JAX's with a text. The number in the text says which
    # of our exceptions it was. The oldest are forgotten: somebody caught them and went on.

    def __init__(self, limit: int = 256):
        self.limit = limit
        self.numbers = itertools.count()
        self.errors: dict[int, EquinoxRuntimeError] = {}

    def record(self, error: EquinoxRuntimeError) -> int:
        number = next(self.numbers)
        self.errors[number] = error
        self.errors.pop(number - self.limit, None)
        return number

    def translate(self, error: Exception) -> EquinoxRuntimeError | None:
        match = re.search(r"\[failed check (\d+)\]", str(error))
        return None if match is None else self.errors.pop(int(match.group(1)), None)


_FAILURES = _Failures()


def _callback(predicate: Any, check: Check) -> Any:
    predicate = np.asarray(predicate)
    if predicate.any():
        error = _fail(predicate, check)
        raise EquinoxRuntimeError(f"{error}\n[failed check {_FAILURES.record(error)}]")
    return np.False_


_raise_p = callback_primitive("raise_if_failed", _callback)


def _run(predicate: Any, *values: Any, check: Check) -> list[Any]:
    if bool(jnp.any(predicate)):
        raise _fail(predicate, check)
    return list(values)


def _program(predicate: Any, *values: Any, check: Check) -> list[Any]:
    def fail() -> jax.Array:
        return _raise_p.bind(predicate, check=check)

    # The values wait for the callback: none of them is used before the check has passed.
    passed = jax.lax.cond(jnp.any(predicate), fail, lambda: jnp.zeros((), bool))
    return list(jax.lax.optimization_barrier((passed, *values))[1:])


check_p = identity_primitive("runtime_check", _run, _program)
register_check(check_p, _FAILURES.translate)
