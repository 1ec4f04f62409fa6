"""What a passing check costs: in a call, side by side with others, in a loop."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from case import Absolute, Case, Thunk, peer

import filtered_transforms
import runtime_checks

WITHOUT = "without the check"
PLAIN = "under jax.jit"
BY_HAND = "a flag carried by hand"
STEPS = 10_000
SIZE = 100

TANH = f"error_if: scan of {STEPS} steps, tanh of {SIZE} numbers each"

# name -> at most this ratio to the peer, and to the same without the check. Where a step does less
# than the check of it, the measure is a flag that is carried by hand.
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "error_if: one passing check in a small function": (0.6, None),
    "error_if: ten passing checks side by side": (0.8, None),
    f"error_if: scan of {STEPS} steps, a matrix times a vector of {SIZE} each": (None, 1.3),
    f"error_if: while_loop of {STEPS} steps, the same": (None, 1.3),
    TANH: (None, None),
}


def cases() -> list[Case | Absolute]:
    ours = operations(filtered_transforms.filter_jit, runtime_checks.error_if)
    without = operations(filtered_transforms.filter_jit, unchecked)
    plain = operations(jax.jit, runtime_checks.error_if)
    equinox: ModuleType | None = peer()
    theirs = {} if equinox is None else operations(equinox.filter_jit, equinox.error_if)
    return [
        Case(
            name,
            ours[name],
            theirs.get(name),
            limit,
            {WITHOUT: without[name], PLAIN: plain[name]}
            | ({BY_HAND: by_hand()} if name == TANH else {}),
            ({} if to_without is None else {WITHOUT: to_without})
            | ({BY_HAND: 1.1} if name == TANH else {}),
        )
        for name, (limit, to_without) in LIMITS.items()
    ]


def unchecked(x: Any, pred: Any, msg: str) -> Any:
    return x


def operations(jit: Callable[[Any], Any], error_if: Callable[..., Any]) -> dict[str, Thunk]:
    small, large = jnp.arange(3.0), jnp.ones(SIZE)
    matrix = jnp.full((SIZE, SIZE), 0.01)

    def one(x: jax.Array) -> jax.Array:
        return jnp.sqrt(error_if(x, x < 0, "negative"))

    def ten(x: jax.Array) -> jax.Array:
        for i in range(10):
            x = error_if(x + 1, x < 0, f"negative {i}")
        return x

    def product(x: jax.Array) -> jax.Array:
        return jnp.tanh(matrix @ error_if(x, jnp.isnan(x), "NaN"))

    def tanh(x: jax.Array) -> jax.Array:
        return jnp.tanh(error_if(x, jnp.isnan(x), "NaN"))

    def scan(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: jax.lax.scan(lambda c, _: (step(c), None), x, None, length=STEPS)[0]

    def loop(x: jax.Array) -> jax.Array:
        return jax.lax.while_loop(
            lambda c: c[0] < STEPS, lambda c: (c[0] + 1, product(c[1])), (jnp.zeros((), int), x)
        )[1]

    functions = [(one, small), (ten, small), (scan(product), large), (loop, large)]
    functions.append((scan(tanh), large))
    return {
        name: waiting(jit(function), x)
        for name, (function, x) in zip(LIMITS, functions, strict=True)
    }


def by_hand() -> Thunk:
    """What somebody writes who has no `error_if`: the loop carries whether there was a NaN."""

    def step(carry: Any, _: None) -> Any:
        x, failed = carry
        return (jnp.tanh(x), failed | jnp.isnan(x).any()), None

    start = jnp.ones(SIZE)
    run = jax.jit(lambda x: jax.lax.scan(step, (x, jnp.array(False)), None, length=STEPS)[0])

    def call() -> None:
        _, failed = run(start)
        if failed:
            raise FloatingPointError("NaN")

    return call


def waiting(function: Callable[[Any], Any], x: jax.Array) -> Thunk:
    return lambda: function(x).block_until_ready()
