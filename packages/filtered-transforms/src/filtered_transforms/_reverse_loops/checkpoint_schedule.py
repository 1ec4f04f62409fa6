"""Checkpoint schedules: which states a loop keeps for its backward pass.

With `s` slots, of which the first holds the state at the start, at most `C(s + r, s)` steps can be
reversed if none runs forward more than `r` times, not counting the run that is differentiated
(Griewank and Walther 2000). If the length is known, the schedule has the least total number of
steps. If it is not known, the checkpoints are chosen while the loop runs, so that for every length
the total is minimal or close to it (Wang, Moin and Iaccarino 2009; Stumm and Walther 2010).
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_MOST_STEPS = 4096  # of a schedule by cost
_MOST_WORK = 50_000  # its steps times slots: takes some 30 milliseconds
_MOST_IN_TURNS = 16384  # steps of a schedule by turns: see `turns`
_MOST_REPEATS = 8192  # of a schedule: enough for 33 million steps with two slots
_LAST = 2**31 - 1  # step counters are `int32`


def reversible_steps(slots: int, repeats: int) -> int:
    """How many steps `slots` checkpoints can reverse if a step reruns at most `repeats` times."""
    return math.comb(slots + repeats, repeats)


def default_checkpoints(max_steps: int) -> int:
    """The least number for which no step reruns more than twice: about `sqrt(2 max_steps)`."""
    slots = 1
    while reversible_steps(slots, 2) < max_steps:
        slots += 1
    return slots


class Schedule(NamedTuple):
    """Which states to keep: the `j`th is the state before step `steps[j]`, in slot `slots[j]`.

    It overwrites the slot's previous state. The backward pass needs the states ordered by step:

    - Before step `first` (or always, if it is `None`): once the `j`th state is kept, `orders[j]`
        are the slots ordered by step. If `orders` is `None`, slots are in this order already.
    - From step `first` on, the slots are in order up to the one written last. The states in later
        slots are discarded.
    - `turns`: the turn of each state before `first`, if these are kept by `turns`; the turn
        determines the order.
    """

    steps: list[int]
    slots: list[int]
    orders: np.ndarray | None = None
    first: int | None = None
    turns: list[int] | None = None


def in_turns(slots: int, limit: int | None) -> bool:
    """Whether a loop of at most `limit` steps (`None`: any number) keeps states by `turns`."""
    return limit is not None and reversible_steps(slots, 2) >= limit


def turns(slots: int, k: Any) -> Any:
    """The first step of turn `k` of a loop of at most `reversible_steps(slots, 2)` steps.

    Turn `k` keeps the state before each of its steps, in the slots from `k` on, except for its last
    step, which has no slot. The next turn begins one slot later. Whenever the loop ends, the total
    number of steps for a gradient is minimal: between the state in slot `k` and the next kept state
    there are at most `slots - k` others.
    """
    return k * (slots + 1) - (k >> 1) * ((k - 1) | 1)  # k (k - 1) / 2: all in 32 bits


@functools.lru_cache(maxsize=256)
def schedule(slots: int, length: int | None, limit: int | None) -> Schedule:
    """When to keep the state of a loop.

    **Arguments:**

    - `slots`: the greatest number of checkpoints.
    - `length`: the number of steps, if it is known.
    - `limit`: the greatest number of steps, if it is known.
    """
    if length is not None:
        found = _offline_steps(slots, length)
        return Schedule(found, list(range(len(found))))
    if slots == 1:
        return Schedule([0], [0])
    if limit is not None and limit <= _MOST_STEPS and limit * slots <= _MOST_WORK:
        return _limited_schedule(slots, limit)
    return _unlimited_schedule(slots, _LAST if limit is None else limit)


def _limited_schedule(slots: int, limit: int) -> Schedule:
    """For at most `limit` steps. At `limit` steps it costs at most 6 % more than the optimum."""
    found, kept = _online_schedule(slots, limit, frozenset())
    best = _offline_steps(slots, limit)
    if _total_steps(kept, limit, slots) <= 1.06 * _total_steps(best, limit, slots):
        return found
    return _online_schedule(slots, limit, frozenset(best))[0]


def _unlimited_schedule(slots: int, limit: int) -> Schedule:
    """A schedule for very many steps: the first part by cost or turns, the rest by repetitions.

    The first part is as long as `repeats` repetitions allow. By cost, `repeats` is the greatest
    number for which making the schedule takes some 30 milliseconds.
    """
    affordable = min(_MOST_STEPS, _MOST_WORK // slots)
    repeats = max(_repeats(slots, affordable + 1) - 1, 1)
    if repeats > 1:
        first = reversible_steps(slots, repeats)
        begun = _online_schedule(slots, first - 1, frozenset())[0]
    elif reversible_steps(slots, 2) <= _MOST_IN_TURNS:
        repeats = 2
        begun = _schedule_in_turns(slots)
    else:  # the first states are all kept
        begun = Schedule(list(range(slots)), list(range(slots)))
    return _extended_schedule(begun, slots, repeats, limit)


def _schedule_in_turns(slots: int) -> Schedule:
    """The state before step `turns(slots, k) + j` is kept in slot `k + j`."""
    begins = [turns(slots, k) for k in range(slots)]
    return Schedule(
        [begin + j for k, begin in enumerate(begins) for j in range(slots - k)],
        [slot for k in range(slots) for slot in range(k, slots)],
        turns=[k for k in range(slots) for _ in range(k, slots)],
    )


def _extended_schedule(begun: Schedule, slots: int, repeats: int, limit: int) -> Schedule:
    """A schedule beyond `reversible_steps(slots, repeats)` steps, up to `limit`.

    All slots except the first are refilled, so that the greatest number of steps can be reversed
    with at most `r` reruns of each: first for `r = repeats + 1`, then for the next `r`.
    """
    first = reversible_steps(slots, repeats)
    steps, used, step = [*begun.steps], [*begun.slots], first
    while step < limit and repeats < _MOST_REPEATS:
        for slot in range(1, slots):
            if step >= limit:
                break
            steps.append(step)
            used.append(slot)
            left = slots - slot
            step += reversible_steps(left, repeats) if left > 1 else repeats + 2
        repeats += 1
    return begun._replace(steps=steps, slots=used, first=first)


def _repeats(slots: int, length: int) -> int:
    """The least `r >= 1` for which `length` steps can be reversed with `r` repetitions."""
    repeats = 1
    while reversible_steps(slots, repeats) < length:
        repeats += 1
    return repeats


def _offline_steps(slots: int, length: int) -> list[int]:
    """The checkpoints of a loop of known length with the least total number of steps."""
    found = [0]
    for left in range(slots, 1, -1):
        rest = length - found[-1]
        if rest <= 1:
            break
        repeats = _repeats(left, rest)
        most = reversible_steps(left, repeats - 1)
        found.append(found[-1] + min(most, rest - reversible_steps(left - 1, repeats - 1)))
    return found


def _online_schedule(slots: int, most: int, wanted: frozenset[int]) -> tuple[Schedule, list[int]]:
    """A schedule for up to `most` steps, and the steps of the checkpoints at its end.

    At each step choose the checkpoints with the least cost if the loop ends after this step plus
    twice the cost if it ends after the next. Steps in `wanted` are never dropped.
    """
    kept, slot_of = [0], {0: 0}
    steps, used = [0], [0]
    orders = [[*range(slots + 1)]]
    for step in range(1, most):
        slot = len(kept)
        if slot == slots:
            gone = _slot_to_free(kept, step, wanted)
            if gone is None:
                continue
            slot = slot_of.pop(kept.pop(gone))
        kept.append(step)
        slot_of[step] = slot
        steps.append(step)
        used.append(slot)
        orders.append([*(slot_of[x] for x in kept), *range(len(kept), slots + 1)])
    orders.append([*range(slots + 1)])
    return Schedule(steps, used, np.array(orders, np.min_scalar_type(slots))), kept


def _slot_to_free(kept: list[int], step: int, wanted: frozenset[int]) -> int | None:
    """Which checkpoint to drop for the state before `step`; `None` not to keep that state."""
    slots = len(kept)
    gaps = [y - x for x, y in zip(kept, [*kept[1:], step], strict=True)]
    as_is = [3 * _repeated_steps(gap, slots - i) for i, gap in enumerate(gaps)]
    moved = [
        3 * _repeated_steps(gap, slots - i + 1) for i, gap in enumerate(gaps)
    ]  # one slot earlier
    found, least = None, math.inf
    if step not in wanted:
        least = (
            sum(as_is[:-1])
            + _repeated_steps(gaps[-1] + 1, 1)
            + 2 * _repeated_steps(gaps[-1] + 2, 1)
        )
    left, right = 0, sum(moved[1:]) + 2 * _repeated_steps(2, 1)
    for i in range(1, slots):
        right -= moved[i]
        cost = left + 3 * _repeated_steps(gaps[i - 1] + gaps[i], slots - i + 1) + right
        if cost < least and kept[i] not in wanted:
            found, least = i, cost
        left += as_is[i - 1]
    return found


@functools.lru_cache(maxsize=65536)
def _repeated_steps(length: int, slots: int) -> int:
    """How many steps rerun to reverse `length` steps whose first state is kept."""
    if length <= 1:
        return 0
    repeats = _repeats(slots, length)
    return repeats * length - math.comb(slots + repeats, repeats - 1)


def _total_steps(kept: list[int], length: int, slots: int) -> int:
    """The total number of steps run for the gradient of a loop of `length` steps."""
    gaps = [y - x for x, y in zip(kept, [*kept[1:], length], strict=True)]
    return 2 * length + sum(_repeated_steps(gap, slots - i) for i, gap in enumerate(gaps))


def steps_to_checkpoint(slots: Any, length: Any) -> Any:
    """How many steps to the next checkpoint, in a range of known length.

    The steps before it are reversed with all slots and one rerun less, those after it with one slot
    less: `reversible_steps(s, r) == reversible_steps(s, r - 1) + reversible_steps(s - 1, r)`.
    """
    s, length_ = slots.astype(jnp.float32), length.astype(jnp.float32)
    more = jnp.where(slots > 1, length_, 0.0)  # with one slot there is nothing to decide

    def condition(state: Any) -> Any:
        _, _, found = state
        return found < more

    def another(state: Any) -> Any:
        r, _, found = state
        return r + 1, found, found * (s + r + 1) / (r + 1)

    start = (
        jnp.float32(2),
        s + 1,
        (s + 1) * (s + 2) / 2,
    )  # r, reversible_steps(s, r - 1), reversible_steps(s, r)
    r, below, _ = jax.lax.while_loop(condition, another, start)
    right = below * s / (s + r - 1)  # reversible_steps(s - 1, r - 1)
    found = jnp.minimum(below, length_ - right)
    found = jnp.clip(jnp.round(found).astype(jnp.int32), 1, jnp.maximum(length - 1, 1))
    return jnp.where(length <= slots + 1, 1, found)
