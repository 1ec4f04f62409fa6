"""The options of a loop, checked together: which of them its kind takes and requires."""

import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from filtered_transforms._types import LoopKind

from .checkpoint_schedule import default_checkpoints

_MOST_STEPS = 2**31 - 1  # step counters are `int32`
_KINDS = get_args(LoopKind)

Checkpoints = int | Literal["all"] | None


class Caller(NamedTuple):
    """The public function that a user called, as errors name it.

    - `name`: its name.
    - `body`: the name of its parameter for the step.
    - `error`: the class of the error for a carry that changes its structure or its types. Those of
        Equinox's loops are `ValueError`, those of `jax.lax` `TypeError`.
    - `depth`: how many leading keys of a path into the carry are internal, and not shown.
    """

    name: str
    body: str
    error: type[Exception]
    depth: int = 0


class LoopOptions(NamedTuple):
    """The options of one loop, checked.

    - `max_steps`: the greatest number of steps: an `int`, traced, or `None` for no limit.
    - `checkpoints`: how many states a checkpointed loop keeps; unused by other kinds.
    - `base`: the least number of steps in a block of a bounded loop.
    - `buffers`: a function from the carry to its buffers.
    """

    caller: Caller
    kind: LoopKind
    max_steps: Any
    checkpoints: int
    base: int
    buffers: Callable[[Any], Any] | None


def choose(
    caller: Caller,
    kind: LoopKind,
    *,
    length: int | None = None,
    max_steps: Any = None,
    checkpoints: Checkpoints = None,
    base: int = 16,
    buffers: Callable[[Any], Any] | None = None,
) -> LoopOptions:
    """Check the options that a user gave. `length`: the number of steps, if it is known.

    **Raises:** `ValueError` for an unknown kind, for options that contradict each other, and
    for a missing option that determines the memory of the loop.
    """
    name = caller.name
    if kind not in _KINDS:
        raise ValueError(
            f"`{name}`: unrecognised kind {kind!r}; expected {', '.join(map(repr, _KINDS))}."
        )
    if checkpoints is not None and kind != "checkpointed":
        raise ValueError(
            f'`{name}`: only kind="checkpointed" has a use for `checkpoints`, got '
            f"checkpoints={checkpoints!r} with kind={kind!r}. Leave `checkpoints` out, or pass "
            'kind="checkpointed".'
        )
    limit = None if max_steps is None else _limit(name, max_steps, kind)
    most = limit if length is None else length
    if kind == "bounded" and most is None:
        raise ValueError(
            f'`{name}`: kind="bounded" requires `max_steps`, from which its memory follows. '
            'Pass `max_steps`, or kind="checkpointed" with `checkpoints`.'
        )
    count = _count(name, checkpoints, most) if kind == "checkpointed" else 0
    return LoopOptions(caller, kind, limit, count, base, buffers)


def _limit(name: str, max_steps: Any, kind: LoopKind) -> Any:
    try:
        found = operator.index(max_steps)
    except TypeError:
        if kind == "bounded":  # its program depends on the number
            raise
        return max_steps  # traced
    if found < 0:
        raise ValueError(
            f"`{name}`: `max_steps` must be a non-negative integer, got {found}. "
            "Leave it out for a loop without a limit."
        )
    return min(found, _MOST_STEPS)


def _count(name: str, checkpoints: Checkpoints, most: Any) -> int:
    """How many states a checkpointed loop of at most `most` steps keeps."""
    if checkpoints is None or checkpoints == "all":
        if not isinstance(most, int):
            given = "" if checkpoints is None else 'checkpoints="all" of '
            raise ValueError(
                f'`{name}`: {given}kind="checkpointed" requires `max_steps` or a number of '
                "`checkpoints`, from which its memory follows. A traced `max_steps` does not tell."
            )
        return max(most, 1) if checkpoints == "all" else default_checkpoints(most)
    found = operator.index(checkpoints)
    if found < 1:
        raise ValueError(
            f"`{name}`: must have at least one checkpoint, got {checkpoints}: the state at the "
            "start is always kept."
        )
    return found
