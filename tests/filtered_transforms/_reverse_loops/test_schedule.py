"""How many steps a checkpointed loop runs for a gradient: against the optimum and Equinox."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import filtered_transforms as ft
from filtered_transforms._reverse_loops.checkpoint_schedule import (
    Schedule,
    default_checkpoints,
    reversible_steps,
    schedule,
)

pytestmark = pytest.mark.heavy

# What Equinox 0.13.8 runs beyond two runs of each step, for each number of checkpoints, and 1, 2,
# 3, ... steps: counted by a callback in the step, without `max_steps`; with it they are the same.
EQUINOX: dict[int, list[int]] = {
    int(places): extra
    for places, extra in json.loads(
        (Path(__file__).parent / "data" / "equinox_steps.json").read_text()
    ).items()
}


@cache
def again(length: int, places: int) -> int:
    """The least number of steps run to reverse so many, of which the first state is kept."""
    if length <= 1:
        return 0
    if places == 1:
        return length * (length - 1) // 2
    return min(k + again(length - k, places - 1) + again(k, places) for k in range(1, length))


@cache
def optimum(length: int, places: int) -> int:
    """The same, where states were kept when the steps were run first."""
    if length <= places:
        return 0
    if places == 1:
        return again(length, 1)
    return min(optimum(length - k, places - 1) + again(k, places) for k in range(1, length))


def extra(found: Schedule, length: int, places: int) -> int:
    """What a schedule takes beyond two runs of each step, if the way back is the best there is."""
    rows = {p: step for step, p in zip(found.steps, found.slots, strict=True) if step < length}
    kept = sorted(rows.values())
    ends = [*kept[1:], length]
    return sum(again(y - x, places - i) for i, (x, y) in enumerate(zip(kept, ends, strict=True)))


def least_or_planned(limit: int, length: int, places: int) -> int:
    """The same, for a loop of at most `limit` steps: without a schedule where there is room for
    turns, which a test below shows to take the least."""
    if limit <= reversible_steps(places, 2):
        return optimum(length, places)
    return extra(schedule(places, None, limit), length, places)


def test_a_known_length_takes_the_least_steps_that_can_be():
    for places in range(1, 51):
        for n in range(1, 201):
            assert extra(schedule(places, n, None), n, places) == optimum(n, places)


def test_a_limit_that_is_reached_takes_six_percent_more_at_most():
    for places in (1, 2, 3, 4, 5, 7, 10, 16, 32, 50):
        for n in range(1, 201, 1 if places < 6 else 7):
            least = 2 * n + optimum(n, places)
            assert 2 * n + least_or_planned(n, n, places) <= 1.06 * least


@pytest.mark.parametrize("places", EQUINOX)
def test_never_more_steps_than_equinox(places: int):
    unknown = schedule(places, None, None)
    for n, theirs in enumerate(EQUINOX[places], 1):
        assert unknown.first is None or n < unknown.first
        assert extra(unknown, n, places) <= theirs
    for limit in range(1, 201):
        for n in range(1, limit + 1):
            assert least_or_planned(limit, n, places) <= EQUINOX[places][n - 1]


def test_what_was_not_counted_of_equinox_is_the_least_there_can_be():
    for places in {*range(1, 51)} - EQUINOX.keys():
        unknown = schedule(places, None, None)
        for n in range(1, 201):
            assert extra(unknown, n, places) == optimum(n, places)
        assert reversible_steps(places, 2) >= 200  # so no limit below needs its own


def counted(kind: str, places: int | None, limit: int | None) -> Any:
    """A function from a number of steps to how many are run for a gradient."""
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    def step(y: Any) -> Any:
        jax.debug.callback(count)
        return jnp.sin(y)

    def of_while(x: Any, n: Any) -> Any:
        return ft.while_loop(
            lambda s: s[0] < n,
            lambda s: (s[0] + 1, step(s[1])),
            (0, x),
            kind="checkpointed",
            checkpoints=places,
            max_steps=limit,
        )[1]

    def of_scan(x: Any, _: Any) -> Any:
        body = lambda c, _: (step(c), None)  # noqa: E731
        return ft.scan(body, x, None, limit, kind="checkpointed", checkpoints=places)[0]

    gradient = jax.jit(jax.grad(of_scan if kind == "scan" else of_while))

    def run(n: int) -> int:
        nonlocal seen
        seen = 0
        found = gradient(jnp.array(1.0), n)
        jax.effects_barrier()
        y, slope = 1.0, 1.0
        for _ in range(n):
            y, slope = float(jnp.sin(y)), slope * float(jnp.cos(y))
        assert jnp.allclose(found, slope, rtol=1e-4)
        return seen

    return run


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize(("places", "limit"), [(1, 14), (2, None), (3, 60), (5, 37), (10, None)])
def test_what_is_run_is_as_planned(places: int, limit: int | None):
    run, found = counted("while", places, limit), schedule(places, None, limit)
    for n in (1, 2, 5, 8, 13, 14, 37, 60):
        if limit is None or n <= limit:
            assert run(n) == 2 * n + extra(found, n, places)


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize(("places", "limit"), [(1, 3), (2, 6), (4, 14), (10, 66)])
def test_a_loop_with_room_for_turns_is_run_as_little_as_can_be_wherever_it_ends(
    places: int, limit: int
):
    assert limit <= reversible_steps(places, 2)
    run = counted("while", places, limit)
    for n in [*range(limit + 1)] if limit < 20 else (0, 10, 11, 12, 33, 54, 65, 66):
        assert run(n) == 2 * n + optimum(n, places)


@pytest.mark.usefixtures("each_way_back")
def test_many_checkpoints_without_a_limit():
    run, first = counted("while", 50, None), reversible_steps(50, 2)
    for n in (50, 51, 52, 150, 700, first - 1):
        assert run(n) == 2 * n + n - 50
    for n in (first, first + 1, first + 60):
        assert run(n) <= 5 * n


def test_the_default_runs_as_little_as_can_be_wherever_a_long_loop_ends():
    places = default_checkpoints(5000)
    run = counted("while", None, 5000)
    for n in (places, places + 1, 150, 1000):
        assert run(n) == 2 * n + n - places


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize(("places", "n"), [(1, 6), (4, 14), (10, 50)])
def test_a_scan_is_run_as_little_as_can_be(places: int, n: int):
    assert counted("scan", places, n)(n) == 2 * n + optimum(n, places)


@pytest.mark.usefixtures("each_way_back")
def test_beyond_the_plan():
    # Steps after those that were planned while the loop was traced.
    found = schedule(16, None, None)
    assert found.first is not None and found.first < 1000
    run = counted("while", 16, None)
    for n in (found.first + 31, 2500):
        again = next(r for r in range(n) if math.comb(16 + r, r) >= n)
        assert run(n) <= (again + 2) * n
