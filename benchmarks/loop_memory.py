"""Prints what loops and their gradients take of memory, by XLA's own estimate, beside Equinox's."""

from typing import Any

import jax
import jax.numpy as jnp
from cases_loops import Loop, ours_and_peer

STATE = 1000  # numbers in the state
CASES: dict[str, dict[str, Any]] = {
    "bounded": {"kind": "bounded"},
    "checkpointed": {"kind": "checkpointed"},
    "checkpointed, 10 checkpoints": {"kind": "checkpointed", "checkpoints": 10},
}


def kilobytes(loop: Loop, steps: int, save: bool, options: dict[str, Any]) -> str:
    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        def body(state: Any) -> Any:
            i, y, saved = state
            y = jnp.sin(w * y)
            return i + 1, y, saved.at[i].set(y[0]) if save else saved

        init = (jnp.array(0), x, jnp.zeros(steps if save else 1))
        buffers = (lambda state: state[2]) if save else None
        _, y, saved = loop(
            lambda s: s[0] < steps, body, init, max_steps=steps, buffers=buffers, **options
        )
        return y.sum() + saved.sum()

    x = jnp.ones(STATE)
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(x, x).compile()
    found: Any = compiled.memory_analysis()
    return f"{found.temp_size_in_bytes / 1000:.0f}"


def main() -> None:
    loops = [loop for loop in ours_and_peer() if loop is not None]
    print("| gradient of a loop | steps | ours, kB | Equinox, kB |\n|---|---|---|---|")
    for name, options in CASES.items():
        for save in (False, True):
            for steps in (100, 1000, 10_000):
                cells = [kilobytes(loop, steps, save, options) for loop in loops]
                print("|", f"{name}{', with a buffer' if save else ''} | {steps} |", " | ".join(cells), "|")  # fmt: skip  # noqa: E501


if __name__ == "__main__":
    main()
