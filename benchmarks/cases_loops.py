"""`while_loop` of each kind beside Equinox's: run forward, and differentiated in reverse."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from case import Case, Thunk, peer

import filtered_transforms as ft

STEPS = (100, 1000, 10_000, 100_000)
ARGS = jnp.ones(8), jax.random.normal(jax.random.key(0), (8, 8)) * 0.4
Loop = Callable[..., Any]
READ = " that is read"
BUFFERS = ("", " with a buffer", " with a buffer" + READ)


def cases() -> list[Case]:
    found: list[Case] = []
    for kind in ("lax", "bounded", "checkpointed"):
        for steps in STEPS:
            for buffer in BUFFERS if steps == 10_000 else BUFFERS[:1]:
                found += run_cases(kind, steps, buffer)
        if kind != "lax":
            found.append(compile_case(kind))
    return found + [of_size(name, kept) for name in STEPS_OF_SIZES for kept in (False, True)]


def loss(loop: Loop, kind: str, steps: int, buffer: str) -> Callable[..., Any]:
    """A small recurrent network, which also writes to a buffer, or reads it, too."""
    save = buffer != ""

    def of(x: jax.Array, w: jax.Array) -> jax.Array:
        def body(state: Any) -> Any:
            i, y, saved = state
            y = jnp.tanh(w @ y)
            if buffer.endswith(READ):
                y = y + 0.1 * saved[jnp.maximum(i - 1, 0)]
            return i + 1, y, saved.at[i].set(y[0]) if save else saved

        init = (jnp.array(0), x, jnp.zeros(steps if save else 1))
        _, y, saved = loop(
            lambda state: state[0] < steps,
            body,
            init,
            max_steps=steps,
            kind=kind,
            buffers=(lambda state: state[2]) if save else None,
        )
        return (y**2).sum() + saved.sum()

    return of


def matrices(w: jax.Array, y: jax.Array) -> jax.Array:
    for i in range(len(w)):
        y = jnp.tanh(w[i] @ y) + 0.01 * jnp.sin(y) * y
    return y


def mlp(w: Any, y: jax.Array) -> jax.Array:
    return y + 0.01 * (w[1].T @ jnp.tanh(w[0] @ y))


def sines(w: jax.Array, y: jax.Array) -> jax.Array:
    for _ in range(20):
        y = y + 0.01 * jnp.sin(w * y)
    return y


def normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape) * (0.9 / shape[-1] ** 0.5)


# The step, what it closes over, the width of the state, and how many steps.
STEPS_OF_SIZES: dict[str, tuple[Loop, Any, int, int]] = {
    "MLP of 8 and 32": (mlp, (normal(32, 8), normal(32, 8)), 8, 1000),
    "MLP of 32 and 128": (mlp, (normal(128, 32), normal(128, 32)), 32, 300),
    "2 slices of matrices, 256 wide": (matrices, normal(2, 256, 256), 256, 300),
    "4 slices of matrices, 16 wide": (matrices, normal(4, 16, 16), 16, 300),
    "20 sines of 10 numbers": (sines, jnp.ones(10), 10, 1000),
    "20 sines of one number": (sines, jnp.ones(1), 1, 1000),
}


def of_size(name: str, all_kept: bool) -> Case:
    """The gradient of a checkpointed loop with a smaller or larger step."""
    step, w, width, steps = STEPS_OF_SIZES[name]

    def thunk(loop: Loop | None) -> Thunk | None:
        if loop is None:
            return None

        def loss(w: Any, y: jax.Array) -> jax.Array:
            _, y = loop(
                lambda state: state[0] < steps,
                lambda state: (state[0] + 1, step(w, state[1])),
                (jnp.array(0), y),
                max_steps=steps,
                kind="checkpointed",
                checkpoints=steps if all_kept else None,
            )
            return (y**2).sum()

        run = jax.jit(jax.value_and_grad(loss, (0, 1)))
        return lambda: jax.block_until_ready(run(w, jnp.ones(width)))

    ours, theirs = ours_and_peer()
    first = thunk(ours)
    assert first is not None
    kept = ", every state kept" if all_kept else ""
    return Case(f"checkpointed loop, {name}: gradient{kept}", first, thunk(theirs), 1.0)


def ours_and_peer() -> tuple[Loop, Loop | None]:
    equinox = peer()
    if equinox is None:
        return ft.while_loop, None
    import equinox.internal as internal

    return ft.while_loop, internal.while_loop


def lowered(function: Callable[..., Any]) -> Any:
    return jax.jit(function).lower(*ARGS)


def run_cases(kind: str, steps: int, buffer: str) -> list[Case]:
    def thunk(loop: Loop | None, differentiated: bool) -> Thunk | None:
        if loop is None:
            return None

        @functools.cache  # compiled when it is first called
        def program() -> Any:
            f = loss(loop, kind, steps, buffer)
            return lowered(jax.grad(f, (0, 1)) if differentiated else f).compile()

        return lambda: jax.block_until_ready(program()(*ARGS))

    ours, theirs = ours_and_peer()
    found: list[Case] = []
    for differentiated in (False, True) if kind != "lax" else (False,):
        mode = "gradient" if differentiated else "forward"
        first = thunk(ours, differentiated)
        assert first is not None
        found.append(
            Case(
                f"{kind} loop{buffer}, {steps} steps: {mode}",
                first,
                thunk(theirs, differentiated),
                1.0 if differentiated else 1.1,
            )
        )
    return found


def compile_case(kind: str) -> Case:
    def thunk(loop: Loop | None) -> Thunk | None:
        if loop is None:
            return None

        def seconds() -> float:
            start = time.perf_counter()
            lowered(jax.grad(loss(loop, kind, 1000, BUFFERS[1]), (0, 1))).compile()
            return time.perf_counter() - start

        return seconds

    ours, theirs = ours_and_peer()
    first = thunk(ours)
    assert first is not None
    name = f"{kind} loop with a buffer: trace and compile the gradient"
    return Case(name, first, thunk(theirs), 1.0, own_clock=True)
