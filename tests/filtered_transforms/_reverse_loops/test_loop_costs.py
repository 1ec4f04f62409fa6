"""What `while_loop` and `scan` cost, and promise: steps run, memory, errors, no Python calls."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import (
    NoProgressMeter,
    TextProgressMeter,
    TqdmProgressMeter,
    finalise_make_jaxpr,
)

pytestmark = pytest.mark.heavy


def run(x: Any, n: Any, count: Any = None, **options: Any) -> Any:
    def body(state: Any) -> Any:
        i, y, saved = state
        if count is not None:
            jax.debug.callback(count)
        y = jnp.sin(y) * x
        return i + 1, y, saved.at[i].set(y[0])

    size = options.get("max_steps") or 1000
    init = (jnp.array(0), x, jnp.zeros(size))
    *_, y, saved = ft.while_loop(lambda s: s[0] < n, body, init, buffers=lambda s: s[2], **options)
    return y.sum() + saved.sum()


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("checkpoints", [None, 2, 3, 5, 20, 200, 300])
def test_time_is_linear_and_steps_are_repeated_as_little_as_can_be(checkpoints: int | None):
    # https://github.com/patrick-kidger/equinox/issues/407
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    options: Any = {"kind": "checkpointed", "max_steps": 200, "checkpoints": checkpoints}
    gradient = jax.jit(jax.grad(lambda x, n: run(x, n, count=count, **options)))
    for n in (0, 1, 7, 40, 190):
        seen = 0
        jax.block_until_ready(gradient(jnp.ones(2), n))
        jax.effects_barrier()
        places = checkpoints or 200
        repeats = next(r for r in range(n + 1) if math.comb(places + r, r) >= n)
        if checkpoints is None:
            repeats = min(n, 2)
        elif checkpoints >= options["max_steps"]:
            repeats = 0  # every state is kept
        # Each step is run once to begin with, and once more to be differentiated.
        assert 2 * n <= seen <= (repeats + 2) * n


@pytest.mark.parametrize("kind", ["bounded", "checkpointed"])
def test_a_loop_that_ends_early_costs_what_it_ran(kind: Any):
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    jitted = jax.jit(lambda x, n: run(x, n, count=count, kind=kind, max_steps=1000))
    jax.block_until_ready(jitted(jnp.ones(2), 5))
    jax.effects_barrier()
    assert seen == 5
    gradient = jax.jit(jax.grad(lambda x, n: run(x, n, count=count, kind=kind, max_steps=1000)))
    seen = 0
    jax.block_until_ready(gradient(jnp.ones(2), 5))
    jax.effects_barrier()
    # A bounded loop with buffers runs the block of steps in which it ends.
    assert 10 <= seen <= (5 + 4 * 32 if kind == "bounded" else 30)


def memory(of: Any, *args: Any) -> int:
    found: Any = jax.jit(of).lower(*args).compile().memory_analysis()
    return found.temp_size_in_bytes


@pytest.mark.usefixtures("each_way_back")
def test_memory_is_that_of_the_checkpoints():
    def body(x: Any, n: Any, **options: Any) -> Any:
        def step(state: Any) -> Any:
            return state[0] + 1, jnp.sin(state[1]) * x

        return ft.while_loop(lambda s: s[0] < n, step, (0, x), **options)[1].sum()

    x = jnp.ones(1000)
    state = x.nbytes

    def used(**options: Any) -> int:
        return memory(jax.grad(lambda x, n: body(x, n, **options)), x, 5)

    few = used(kind="checkpointed", max_steps=100, checkpoints=8)
    assert used(kind="checkpointed", max_steps=100_000, checkpoints=8) < few + state
    assert used(kind="checkpointed", checkpoints=8) < few + state
    assert few < (8 + 8) * state
    for kind in ("checkpointed", "bounded"):
        assert used(kind=kind, max_steps=400) < (2.5 * math.sqrt(400) + 10) * state


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_buffers_are_not_kept_for_each_checkpoint(kind: Any):
    options: Any = {"kind": kind, "max_steps": 2000}
    value = memory(lambda x, n: run(x, n, **options), jnp.ones(2), 5)
    assert value < 2 * 2000 * 4
    if kind != "lax":
        found = memory(jax.grad(lambda x, n: run(x, n, **options)), jnp.ones(2), 5)
        assert found < 4 * 2000 * 4


def test_a_large_step_is_compiled_twice_and_once_to_go_back():
    # Forward, and where it is made ready to be reversed; not to go forward again, too.
    def step(y: Any) -> Any:
        for _ in range(10):
            y = y + 0.1 * jnp.sin(y)
        return jnp.cbrt(y)

    def loss(y: Any, n: Any) -> Any:
        out = ft.while_loop(
            lambda s: s[0] < n,
            lambda s: (s[0] + 1, step(s[1])),
            (0, y),
            kind="checkpointed",
            max_steps=1000,
        )
        return out[1].sum()

    program = jax.jit(jax.grad(loss)).lower(jnp.ones(3), 5).as_text()
    assert program.count("chlo.cbrt") + program.count("stablehlo.cbrt") == 2


@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_no_python_is_called(kind: Any):
    # https://github.com/patrick-kidger/equinox/issues/628
    f = lambda x: run(x, 3, kind=kind, max_steps=4)  # noqa: E731
    programs = [jax.make_jaxpr(f)(jnp.ones(2)), finalise_make_jaxpr(f)(jnp.ones(2))]
    if kind != "lax":
        programs.append(jax.make_jaxpr(jax.vmap(jax.grad(f)))(jnp.ones((3, 2))))
    for program in programs:
        assert "callback" not in str(program)


def loop(**options: Any) -> Any:
    given: dict[str, Any] = {
        "cond_fun": lambda s: s[0] < 3,
        "body_fun": lambda s: (s[0] + 1, s[1] * 2),
        "init_val": (jnp.array(0), {"x": jnp.ones(2)}),
        "max_steps": 4,
        "kind": "checkpointed",
    }
    given |= {"body_fun": twice} | options
    return lambda: ft.while_loop(**given)


def twice(state: Any) -> Any:
    i, tree = state
    return i + 1, {"x": tree["x"] * 2}


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "kind": (loop(kind="quick"), ValueError, "`while_loop`: unrecognised kind 'quick'"),
    "bounded": (loop(kind="bounded", max_steps=None), ValueError, "requires `max_steps`"),
    "checkpointed": (loop(max_steps=None), ValueError, "`max_steps` or a number of `checkpoints`"),
    "no checkpoint": (loop(checkpoints=0), ValueError, "at least one checkpoint, got 0"),
    "max_steps": (loop(max_steps=-1), ValueError, "non-negative integer, got -1"),
    "cond shape": (
        loop(cond_fun=lambda s: s[1]["x"] < 1),
        TypeError,
        r"scalar of dtype bool, got one of bool\[2\]",
    ),
    "cond dtype": (loop(cond_fun=lambda s: s[0]), TypeError, r"got one of int32\[\]"),
    "cond": (loop(cond_fun=lambda s: None), TypeError, "must return a bool, got None"),
    "structure": (
        loop(body_fun=lambda s: (s[0] + 1, {"x": None})),
        ValueError,
        r"same input and output structure.*\[1\]\['x'\]",
    ),
    "shape": (
        loop(body_fun=lambda s: (s[0] + 1, {"x": s[1]["x"][None]})),
        ValueError,
        r"\[1\]\['x'\] it was given an array float32\[2\], and returned an array float32\[1,2\]",
    ),
    "dtype": (
        loop(
            body_fun=lambda s: (s[0].astype(jnp.float32), s[1]),
            init_val=(jnp.int32(0), {"x": jnp.ones(2)}),
        ),
        ValueError,
        r"\[0\] it was given an array int32\[\], and returned an array float32\[\]",
    ),
    "static": (
        loop(init_val=(0, "x"), body_fun=lambda s: (s[0] + 1, "y")),
        TypeError,
        r"\[1\] it was 'x', and `body_fun` returned 'y'",
    ),
    "no array": (
        loop(init_val=(0, 1.0), body_fun=lambda s: (s[0] + 1, "y")),
        TypeError,
        "was given an array, and returned 'y'",
    ),
    "buffers": (loop(buffers=lambda s: jnp.ones(2)), TypeError, "not a leaf of it"),
    "not the buffer": (
        loop(buffers=lambda s: s[1], body_fun=lambda s: (s[0] + 1, {"x": jnp.ones(2)})),
        ValueError,
        "must be that buffer",
    ),
    "arithmetic on a buffer": (loop(buffers=lambda s: s[1]), TypeError, "Buffer"),
    # https://github.com/patrick-kidger/equinox/commit/6987cc8
    "index of a buffer": (
        loop(
            buffers=lambda s: s[1],
            body_fun=lambda s: (s[0] + 1, {"x": s[1]["x"].at[jnp.float32(1)].set(1.0)}),
        ),
        TypeError,
        "integer",
    ),
    "scan kind": (
        lambda: ft.scan(lambda c, x: (c, x), 0, jnp.ones(2), kind="quick"),  # pyright: ignore[reportArgumentType]
        ValueError,
        "`scan`: unrecognised kind",
    ),
    "scan lengths": (
        lambda: ft.scan(lambda c, x: (c, x), 0, jnp.ones(2), 3, kind="checkpointed"),
        ValueError,
        r"inconsistent lengths.*\[2, 3\]",
    ),
    "scan without length": (
        lambda: ft.scan(lambda c, x: (c, x), 0, None, kind="lax"),
        ValueError,
        "no `length`",
    ),
    "scan over scalars": (
        lambda: ft.scan(lambda c, x: (c, x), 0, jnp.ones(()), kind="lax"),
        ValueError,
        "no axis to scan over",
    ),
    "scan pair": (
        lambda: ft.scan(lambda c, x: c, 0, jnp.ones(2), kind="checkpointed"),
        TypeError,
        "must return a pair",
    ),
    "no forward mode": (
        lambda: jax.jvp(
            lambda x: run(x, 2, kind="checkpointed", max_steps=3),
            [jnp.ones(2)] * 1,
            [jnp.ones(2)] * 1,
        ),
        TypeError,
        "forward-mode",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
@pytest.mark.parametrize("meter", ["text", "tqdm", "none"])
@pytest.mark.parametrize("mapped", [False, True])
def test_progress_is_shown_once(kind: Any, meter: str, mapped: bool, capfd: Any):
    meters = {
        "text": TextProgressMeter(minimum_increase=0.3),
        "tqdm": TqdmProgressMeter(refresh_steps=4),
        "none": NoProgressMeter(),
    }
    chosen = meters[meter]

    def f(x: Any, n: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, meter_state = state
            return i + 1, jnp.sin(y), chosen.step(meter_state, (i + 1) / n)

        init = (0, x, chosen.init())
        _, y, meter_state = ft.while_loop(lambda s: s[0] < n, body, init, kind=kind, max_steps=10)
        chosen.close(meter_state)
        return y

    g = f if kind == "lax" else jax.grad(f)
    x, n = jnp.ones(()), jnp.array(10)
    if mapped:  # the meter shows the one that is least far
        g, x, n = jax.vmap(g), jnp.ones(3), jnp.array([2, 10, 4])
    jitted = jax.jit(g)
    for _ in range(2):  # the same program shows its progress again
        jax.block_until_ready(jitted(x, n))
        jax.effects_barrier()
        out, err = capfd.readouterr()
        if meter == "text":
            assert out.split() == ["0.00%", "40.00%", "80.00%", "100.00%"]
        elif meter == "tqdm":
            assert "0.00%|" in err and "100.00%|" in err.strip().splitlines()[-1]
        else:
            assert out == err == ""


def test_text_meter_eagerly(capfd: Any):
    meter = TextProgressMeter(0.5)
    state = meter.init()
    for progress in (0.2, np.float32(0.6), jnp.array(0.9), 1):
        state = meter.step(state, progress)
    meter.close(state)
    jax.effects_barrier()
    assert capfd.readouterr().out.split() == ["0.00%", "60.00%", "100.00%"]
