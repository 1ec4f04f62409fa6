"""When a loop that is to be differentiated in reverse keeps its state.

With `s` slots for states, of which the first holds the state at the start, `C(s + r, s)` steps can
be reversed so that none is run forward more than `r` times, not counting the run in which it is
differentiated; no more (Griewank and Walther 2000). Where the length is known, positions are those
of the least number of steps run in all. Of a loop of unknown length, the positions that are kept
while it runs are such that, for any length that it may turn out to have, this number is as small or
nearly so (Wang, Moin and Iaccarino 2009; Stumm and Walther 2010).
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_MOST_STEPS = 4096  # of those that are chosen by what they cost, and
_MOST_WORK = 50_000  # steps times slots: some 30 milliseconds
_MOST_IN_TURNS = 16384  # steps of a schedule in which states are kept in turns: see `turns`
_MOST_REPEATS = 8192  # of a schedule: with two slots, for 33 million steps
_LAST = 2**31 - 1  # counters are of 32 bits


def reversible_steps(slots: int, repeats: int) -> int:
    """How many steps can be reversed from so many slots, each run again at most `repeats` times."""
    return math.comb(slots + repeats, repeats)


def default_checkpoints(max_steps: int) -> int:
    """As many as it takes that no step is run more than twice: about `sqrt(2 max_steps)`."""
    slots = 1
    while reversible_steps(slots, 2) < max_steps:
        slots += 1
    return slots


class Schedule(NamedTuple):
    """Which states to keep: the `j`th is that before step `steps[j]`, in slot `slots[j]`.

    What the slot held is given up. On the way back the states are wanted in the order of the steps:

    - Up to the step `first` (or always, without one), after the `j`th state was kept, they are in
        the slots `orders[j]`, or, without `orders`, in the order of the slots.
    - From step `first` on, they are in the order of the slots, up to the slot written last. What is
        in later slots is given up, too.
    - `turns`: the turn of each state before `first`, if those are kept as `turns` says, and so are
        in the order of that.
    """

    steps: list[int]
    slots: list[int]
    orders: np.ndarray | None = None
    first: int | None = None
    turns: list[int] | None = None


def in_turns(slots: int, limit: int | None) -> bool:
    """Whether a loop of at most so many steps, or of any number, goes by `turns`."""
    return limit is not None and reversible_steps(slots, 2) >= limit


def turns(slots: int, k: Any) -> Any:
    """The first step of turn `k` of a loop of at most `reversible_steps(slots, 2)` steps.

    In turn `k` the state before each step is kept, in the slots from `k` on, but for the last
    step of it, for which there is none left: the next turn begins one slot later. The steps run
    for a gradient are then the least that there can be, whenever the loop ends: between what is in
    slot `k` and the next state there are at most `slots - k` others.
    """
    return k * (slots + 1) - (k >> 1) * ((k - 1) | 1)  # k (k - 1) / 2: all in 32 bits


@functools.lru_cache(maxsize=256)
def schedule(slots: int, length: int | None, limit: int | None) -> Schedule:
    """When to keep the state of a loop.

    **Arguments:**

    - `slots`: how many states can be kept.
    - `length`: the number of steps, if that is known.
    - `limit`: the greatest number of steps, if that is.
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
    """For at most `limit` steps: it never costs six percent more than it must there."""
    found, kept = _online_schedule(slots, limit, frozenset())
    best = _offline_steps(slots, limit)
    if _total_steps(kept, limit, slots) <= 1.06 * _total_steps(best, limit, slots):
        return found
    return _online_schedule(slots, limit, frozenset(best))[0]


def _unlimited_schedule(slots: int, limit: int) -> Schedule:
    """The schedule for very many steps: by cost for the first, then by repetitions alone.

    The first steps are as many as can be reversed with `repeats` repetitions, which a schedule by
    cost is made for in some 30 milliseconds.
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

    In all slots but that of the start states are kept anew, so that as many steps as can be
    reversed with none run more than `r` times are: first for `r = repeats + 1`, then for the next.
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
    """The steps whose states are kept of a loop of known length: the least number is run."""
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
    """A schedule for up to `most` steps, and the steps whose states are then kept.

    Before each step, what is kept from then on is what costs least if the loop ends after that
    step, or after the next, which counts twice. What is in `wanted` is kept, and never given up.
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
    """Which state to give up for that before `step`, if it is to be kept."""
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
    """How many steps are run to reverse so many, of which the first state is kept."""
    if length <= 1:
        return 0
    repeats = _repeats(slots, length)
    return repeats * length - math.comb(slots + repeats, repeats - 1)


def _total_steps(kept: list[int], length: int, slots: int) -> int:
    """How many steps are run for the gradient of a loop of so many, in all."""
    gaps = [y - x for x, y in zip(kept, [*kept[1:], length], strict=True)]
    return 2 * length + sum(_repeated_steps(gap, slots - i) for i, gap in enumerate(gaps))


def steps_to_checkpoint(slots: Any, length: Any) -> Any:
    """How far to the next position to keep, of a range of known length with so many slots.

    The steps before it are to be reversed with all slots and one run less, those after with one
    slot less: `reversible_steps(s, r) == reversible_steps(s, r - 1) + reversible_steps(s - 1, r)`.
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
