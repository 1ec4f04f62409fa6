"""When a loop that is to be differentiated in reverse keeps its state.

With `s` places for states, of which the first holds the state at the start, `C(s + r, s)` steps can
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
_MOST_WORK = 50_000  # steps times places: some 30 milliseconds
_MOST_IN_TURNS = 16384  # steps of a plan in which states are kept in turns: see `turns`
_MOST_RUNS = 8192  # of a plan: with two places, for 33 million steps
_LAST = 2**31 - 1  # counters are of 32 bits


def reach(places: int, runs: int) -> int:
    """How many steps can be reversed in so many places if none is to run more than `runs` times."""
    return math.comb(places + runs, runs)


def default_checkpoints(max_steps: int) -> int:
    """As many as it takes that no step is run more than twice: about `sqrt(2 max_steps)`."""
    places = 1
    while reach(places, 2) < max_steps:
        places += 1
    return places


class Plan(NamedTuple):
    # Before which steps to keep the state, and in which place: what it held is given up.
    #
    # - Before the step `first`, or without one: after the `j`th state was kept, all are in the
    #   places `orders[j]`, in the order of the steps. Without `orders`: as they lie.
    # - From it on, and without `orders`: all are in the places up to that which was written last,
    #   as they lie, which is also the last of `orders`. What is in the others is given up, too.
    #
    # `turns`: that of each state before `first`, if they are kept as the function `turns` says, and
    # so in the order of that.

    steps: list[int]
    places: list[int]
    orders: np.ndarray | None = None
    first: int | None = None
    turns: list[int] | None = None


def in_turns(places: int, limit: int | None) -> bool:
    """Whether a loop of at most so many steps, or of any number, goes by `turns`."""
    return limit is not None and reach(places, 2) >= limit


def turns(places: int, k: Any) -> Any:
    """The first step of turn `k` of a loop of at most `reach(places, 2)` steps.

    In turn `k` the state before each step is kept, in the places from `k` on, but for the last
    step of it, for which there is none left: the next turn begins one place later. The steps run
    for a gradient are then the least that there can be, whenever the loop ends: between what is in
    place `k` and the next state there are at most `places - k` others.
    """
    return k * (places + 1) - (k >> 1) * ((k - 1) | 1)  # k (k - 1) / 2: all in 32 bits


@functools.lru_cache(maxsize=256)
def plan(places: int, length: int | None, limit: int | None) -> Plan:
    """When to keep the state of a loop.

    **Arguments:**

    - `places`: how many states can be kept.
    - `length`: the number of steps, if that is known.
    - `limit`: the greatest number of steps, if that is.
    """
    if length is not None:
        found = _known(places, length)
        return Plan(found, list(range(len(found))))
    if places == 1:
        return Plan([0], [0])
    if limit is not None and limit <= _MOST_STEPS and limit * places <= _MOST_WORK:
        found, kept = _online(places, limit, frozenset())
        best = _known(places, limit)
        if _runs(kept, limit, places) <= 1.06 * _runs(best, limit, places):
            return found
        return _online(places, limit, frozenset(best))[0]
    runs = 1
    while reach(places, runs + 1) <= min(_MOST_STEPS, _MOST_WORK // places):
        runs += 1
    if runs == 1 and reach(places, 2) <= _MOST_IN_TURNS:
        runs = 2
        begins = [turns(places, k) for k in range(places)]
        found = Plan(
            [begin + j for k, begin in enumerate(begins) for j in range(places - k)],
            [place for k in range(places) for place in range(k, places)],
            turns=[k for k in range(places) for _ in range(k, places)],
        )
    elif runs == 1:  # the first states are all kept
        found = Plan(list(range(places)), list(range(places)))
    else:
        found = _online(places, reach(places, runs) - 1, frozenset())[0]
    first = reach(places, runs)
    return _continued(found, places, runs, first, _LAST if limit is None else limit)


def _continued(begun: Plan, places: int, runs: int, first: int, limit: int) -> Plan:
    """A plan beyond `reach(places, runs)` steps, up to `limit`.

    In all places but that of the start states are kept anew so that up to `reach(places, r)` steps
    can be reversed with none run more than `r` times: first for `r = runs + 1`, then for the next.
    """
    steps, used, step = [*begun.steps], [*begun.places], first
    while step < limit and runs < _MOST_RUNS:
        for place in range(1, places):
            if step >= limit:
                break
            steps.append(step)
            used.append(place)
            left = places - place
            step += reach(left, runs) if left > 1 else runs + 2
        runs += 1
    return begun._replace(steps=steps, places=used, first=first)


def _known(places: int, length: int) -> list[int]:
    """The steps whose states are kept so that the number that are run is least."""
    found = [0]
    for left in range(places, 1, -1):
        rest = length - found[-1]
        if rest <= 1:
            break
        runs = 1
        while reach(left, runs) < rest:
            runs += 1
        found.append(found[-1] + min(reach(left, runs - 1), rest - reach(left - 1, runs - 1)))
    return found


def _online(places: int, most: int, wanted: frozenset[int]) -> tuple[Plan, list[int]]:
    """A plan for up to `most` steps, and the steps whose states are then kept.

    Before each step, what is kept from then on is what costs least if the loop ends after that
    step, or after the next, which counts twice. What is in `wanted` is kept, and never given up.
    """
    kept, place_of = [0], {0: 0}
    steps, used = [0], [0]
    orders = [[*range(places + 1)]]
    for step in range(1, most):
        place = len(kept)
        if place == places:
            gone = _given_up(kept, step, wanted)
            if gone is None:
                continue
            place = place_of.pop(kept.pop(gone))
        kept.append(step)
        place_of[step] = place
        steps.append(step)
        used.append(place)
        orders.append([*(place_of[x] for x in kept), *range(len(kept), places + 1)])
    orders.append([*range(places + 1)])
    return Plan(steps, used, np.array(orders, np.min_scalar_type(places))), kept


def _given_up(kept: list[int], step: int, wanted: frozenset[int]) -> int | None:
    """Which state to give up for that before `step`, if it is to be kept."""
    places = len(kept)
    gaps = [y - x for x, y in zip(kept, [*kept[1:], step], strict=True)]
    as_is = [3 * _again(gap, places - i) for i, gap in enumerate(gaps)]
    moved = [3 * _again(gap, places - i + 1) for i, gap in enumerate(gaps)]  # one place earlier
    found, least = None, math.inf
    if step not in wanted:
        least = sum(as_is[:-1]) + _again(gaps[-1] + 1, 1) + 2 * _again(gaps[-1] + 2, 1)
    left, right = 0, sum(moved[1:]) + 2 * _again(2, 1)
    for i in range(1, places):
        right -= moved[i]
        cost = left + 3 * _again(gaps[i - 1] + gaps[i], places - i + 1) + right
        if cost < least and kept[i] not in wanted:
            found, least = i, cost
        left += as_is[i - 1]
    return found


@functools.lru_cache(maxsize=65536)
def _again(length: int, places: int) -> int:
    """How many steps are run to reverse so many, of which the first state is kept."""
    if length <= 1:
        return 0
    runs = 1
    while reach(places, runs) < length:
        runs += 1
    return runs * length - math.comb(places + runs, runs - 1)


def _runs(kept: list[int], length: int, places: int) -> int:
    """How many steps are run for the gradient of a loop of so many, in all."""
    gaps = [y - x for x, y in zip(kept, [*kept[1:], length], strict=True)]
    return 2 * length + sum(_again(gap, places - i) for i, gap in enumerate(gaps))


def apart(places: Any, length: Any) -> Any:
    """How far to the next position to keep, of a range of known length with so many places.

    The steps before it are to be reversed with all places and one run less, those after with one
    place less: `reach(s, r) == reach(s, r - 1) + reach(s - 1, r)`.
    """
    s, length_ = places.astype(jnp.float32), length.astype(jnp.float32)
    more = jnp.where(places > 1, length_, 0.0)  # with one place there is nothing to decide

    def condition(state: Any) -> Any:
        _, _, found = state
        return found < more

    def another(state: Any) -> Any:
        r, _, found = state
        return r + 1, found, found * (s + r + 1) / (r + 1)

    start = (jnp.float32(2), s + 1, (s + 1) * (s + 2) / 2)  # r, reach(s, r - 1), reach(s, r)
    r, below, _ = jax.lax.while_loop(condition, another, start)
    right = below * s / (s + r - 1)  # reach(s - 1, r - 1)
    found = jnp.minimum(below, length_ - right)
    found = jnp.clip(jnp.round(found).astype(jnp.int32), 1, jnp.maximum(length - 1, 1))
    return jnp.where(length <= places + 1, 1, found)
