"""The primitive behind every check, and how its failure gets from the device to the caller."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._at_exit import forget_failures_at_exit
from ._breakpoint import Scope
from ._errors import FAILURES, EquinoxRuntimeError
from ._frames import Place
from ._jax import callback_primitive, check_primitive, on_each_device

_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Check:
    """What a check says, where it stands, and what it looks at beside its predicate.

    - `messages`: of several, an index, the first of the values, says which.
    - `shown`: the names of values to put into the message.
    - `scope`: where to open the debugger, if at all; its values come last.
    - `kept`: whether the check is part of the program even if nobody needs its result.
    - `by_hand`: whether the user wrote it here, so that an unused result is a mistake of theirs.
    """

    messages: tuple[str, ...]
    places: tuple[Place, ...]
    shown: tuple[str, ...] = ()
    scope: Scope | None = None
    kept: bool = True
    by_hand: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The values that come with the predicate."""
        index = ("",) if len(self.messages) > 1 else ()
        return (*index, *self.shown, *([""] * (0 if self.scope is None else self.scope.size)))

    def differentiated(self) -> "Check":
        """The same check in a program in which JAX has moved things about."""
        return dataclasses.replace(self, by_hand=False) if self.by_hand else self

    def error(self, predicate: Any, values: Sequence[Any] = ()) -> EquinoxRuntimeError:
        """The exception for a predicate that is true somewhere; values may be left out, all."""
        predicate = np.asarray(predicate)
        failed = np.argwhere(predicate)
        values = [np.asarray(x) for x in values]
        message = self.messages[0]
        if len(self.messages) > 1 and values:
            which, *values = values
            last = len(self.messages) - 1
            message = self.messages[min(max(_largest(which, predicate), 0), last)]
        first = tuple(failed[0]) if len(failed) else ()
        shown = {
            name: value[first] if value.shape[: len(first)] == predicate.shape else value
            for name, value in zip(self.shown, values, strict=False)
        }
        index, note = (), ""
        if predicate.ndim > 0:
            index = tuple(tuple(map(int, row)) for row in failed[:_SHOWN])
            listed = ", ".join(str(row[0] if len(row) == 1 else row) for row in index)
            more = ", ..." if len(failed) > _SHOWN else ""
            note = f"\nIt failed for {len(failed)} of {predicate.size} elements, at {listed}{more}."
        return EquinoxRuntimeError(message, self.places, index, shown, note)

    def fail(self, predicate: Any, values: Sequence[Any] = ()) -> EquinoxRuntimeError:
        """As `error`, after a visit to the debugger if that is wanted."""
        if self.scope is not None:
            self.scope.visit([np.asarray(x) for x in values[len(values) - self.scope.size :]])
        return self.error(predicate, values)


def _largest(which: Any, predicate: Any) -> int:
    if which.shape == predicate.shape:
        return int(which[predicate].max())
    return int(which.max())


def _callback(predicate: Any, *values: Any, check: Check) -> Any:
    if np.any(predicate):
        forget_failures_at_exit()
        raise FAILURES.marked(check.fail(predicate, values))
    return np.False_


_raise_p = callback_primitive("raise_if_failed", _callback)


def _run(check: Check, predicate: Any, values: list[Any]) -> None:
    if bool(jnp.any(predicate)):
        raise check.fail(predicate, values)


def _program(
    check: Check,
    devices: int,
    axes: tuple[str, ...],
    predicate: Any,
    values: list[Any],
    through: list[Any],
) -> list[Any]:
    # The program itself raises. On several devices all of them do, since one that raised alone
    # would leave the others waiting for it in the next collective: so one boolean is reduced.
    failed = jnp.any(predicate)
    if axes:
        failed = jax.lax.psum(failed.astype(jnp.int32), axes) > 0

    def fail() -> jax.Array:
        if axes:
            return _raise_p.bind(failed, check=check)
        if devices > 1:
            return on_each_device(lambda flag: _raise_p.bind(flag, check=check), devices, failed)
        return _raise_p.bind(predicate, *values, check=check)

    # What comes through waits for the callback: none of it is used before the check has passed.
    passed = jax.lax.cond(failed, fail, lambda: jnp.zeros((), bool))
    if not through:
        return []
    return list(jax.lax.optimization_barrier((passed, *through))[1:])


check_p = check_primitive("runtime_check", _run, _program)
