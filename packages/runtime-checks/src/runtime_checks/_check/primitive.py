"""The primitive behind every check, and how its failure gets from the device to the caller."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from runtime_checks._failure.exceptions import FAILURES, EquinoxRuntimeError
from runtime_checks._failure.failed_elements import Failed, Shards
from runtime_checks._failure.packed_report import unfused
from runtime_checks._failure.pending_failures import forget_failures_at_exit
from runtime_checks._jax import callback_primitive, check_primitive, on_each_device
from runtime_checks._user_frames import SourcePlace

from .debugger_scope import Scope


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
    places: tuple[SourcePlace, ...]
    shown: tuple[str, ...] = ()
    scope: Scope | None = None
    kept: bool = True
    by_hand: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The values that come with the predicate."""
        index = ("",) if len(self.messages) > 1 else ()
        return (*index, *self.shown, *([""] * self.debugged))

    @property
    def debugged(self) -> int:
        """How many of the values, the last ones, are for the debugger."""
        return 0 if self.scope is None else self.scope.size

    def differentiated(self) -> "Check":
        """The same check in a program in which JAX has moved things about."""
        return dataclasses.replace(self, by_hand=False) if self.by_hand else self

    def error(self, failed: Failed) -> EquinoxRuntimeError:
        """The exception for a predicate that is true somewhere."""
        message = self.messages[min(max(failed.which, 0), len(self.messages) - 1)]
        note = ""
        if failed.index:
            listed = ", ".join(str(row[0] if len(row) == 1 else row) for row in failed.index)
            more = ", ..." if failed.count > len(failed.index) else ""
            note = f"\nIt failed for {failed.count} of {failed.size} elements, at {listed}{more}."
        shown = dict(zip(self.shown, failed.values, strict=False))
        return EquinoxRuntimeError(message, self.places, failed.index, shown, note)

    def seen(self, predicate: Any, values: Sequence[Any]) -> Failed:
        """What the predicate and the values say, the latter without those of the debugger."""
        values = values[: len(values) - self.debugged]
        return Failed.seen(predicate, values, len(self.messages) > 1)

    def fail(self, predicate: Any, values: Sequence[Any] = ()) -> EquinoxRuntimeError:
        """The exception, after a visit to the debugger if that is wanted."""
        if self.scope is not None:
            self.scope.visit([np.asarray(x) for x in values[len(values) - self.debugged :]])
        return self.error(self.seen(predicate, values))


def _callback(predicate: Any, *values: Any, check: Check) -> Any:
    if np.any(predicate):
        forget_failures_at_exit()
        raise FAILURES.marked(check.fail(predicate, values))
    return np.False_


def _callback_of_each(*summary: Any, check: Check, shape: tuple[int, ...], devices: int) -> Any:
    # Called on each device, with the same numbers.
    forget_failures_at_exit()
    failed = Failed.told(summary, shape, len(check.messages) > 1)
    if check.scope is not None:
        start = len(failed.values) - check.debugged
        check.scope.visit_once(devices, list(failed.values[start:]))
    raise FAILURES.marked(check.error(failed))


_raise_p = callback_primitive("raise_if_failed", _callback)
_raise_each_p = callback_primitive("raise_failed", _callback_of_each)


def _run(check: Check, predicate: Any, values: list[Any]) -> None:
    if bool(jnp.any(predicate)):
        raise check.fail(predicate, values)


def _alone(check: Check) -> NotImplementedError:
    place = check.places[0] if check.places else "an unknown line"
    return NotImplementedError(
        f"A check in a `shard_map` or `pmap`, in a program of plain `jax.jit`, has to stand in the "
        f"body itself; this one is in a branch, a loop, a `shard_map` within, or a function that "
        f"`jit`, `checkpoint` or a custom rule traces. All shards have to fail together, and it is "
        f"not known that all of them get there. Use `filter_jit`, under which a check is a result "
        f"of the program. The check is {check.messages[0]!r}, at {place}."
    )


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
    shards = Shards(axes)
    failed = shards.any(predicate)
    seen = [unfused(x) for x in (predicate, *values)]

    def fail() -> jax.Array:
        if devices == 1 and not axes:
            return _raise_p.bind(*seen, check=check)
        summary = shards.summary(predicate, values, len(check.messages) > 1, check.debugged)
        shape = shards.whole(predicate.shape)

        def on_each(*summary: Any) -> jax.Array:
            return _raise_each_p.bind(*summary, check=check, shape=shape, devices=devices)

        return on_each(*summary) if axes else on_each_device(on_each, devices, *summary)

    # What comes through waits for the callback: none of it is used before the check has passed.
    passed = jax.lax.cond(failed, fail, lambda: jnp.zeros((), bool))
    if not through:
        return []
    return list(jax.lax.optimization_barrier((passed, *through))[1:])


check_p = check_primitive("runtime_check", _run, _program, _alone)
