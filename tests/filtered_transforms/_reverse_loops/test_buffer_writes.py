"""Buffers of loops that are written: by any index, as arrays are."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


@pytest.mark.parametrize("kind", ["bounded", "checkpointed"])
def test_of_two_buffers_one_is_differentiated(kind: Any):
    def run(x: Any, saved: Any) -> Any:
        def body(state: Any) -> Any:
            i, y, (saved, times) = state
            return i + 1, y * x, (saved.at[i].set(y), times.at[i].set(1.0))

        init = (jnp.array(0), x, (saved, jnp.zeros(4)))
        *_, (saved, times) = ft.while_loop(
            lambda s: s[0] < 2, body, init, buffers=lambda s: s[2], kind=kind, max_steps=3
        )
        return (saved * jnp.arange(1.0, 5.0)).sum() + times.sum()

    found = jax.jit(jax.grad(run, (0, 1)))(3.0, jnp.ones(4))
    close(found, (jnp.array(1 + 2 * 2 * 3.0), jnp.array([0.0, 0.0, 3.0, 4.0])))


INDICES: dict[str, Any] = {
    "integer": lambda i: i,
    "negative": lambda i: i - 4,
    "static": lambda i: 1,
    "out of bounds": lambda i: i + 9,
    "row and column": lambda i: (i, 2),
    "ellipsis": lambda i: (..., i),
    "after a slice": lambda i: (slice(1, 3), i),
    "new axis": lambda i: (None, i),
    "array": lambda i: jnp.stack([i, i + 2]),
    "slice alone": lambda i: slice(1, 3),
    "mask": lambda i: np.array([True, False, True, False]),
}


@pytest.mark.parametrize("name", INDICES)
def test_buffers_are_written_as_arrays_are(name: str):
    index = INDICES[name](jnp.array(1))
    values = jnp.arange(1.0, 13.0).reshape(4, 3) ** 0.5
    old = jnp.linspace(2.0, 3.0, 12).reshape(4, 3)

    def run(pred: Any, x: Any, old: Any) -> Any:
        def body(state: Any) -> Any:
            i, x, b = state
            assert b.shape == (4, 3) and b.dtype == jnp.float32 and b.ndim == 2 and b.size == 12
            place = INDICES[name](i + 1)
            return i + 1, x, b.at[place].set(x[place] * 3, pred=pred)

        state = (jnp.array(0), x, old)
        out = ft.while_loop(
            lambda s: s[0] < 1,
            body,
            state,
            buffers=lambda s: s[2],
            kind="checkpointed",
            max_steps=1,
        )
        return (out[2] * values[::-1]).sum()

    def plain(pred: Any, x: Any, old: Any) -> Any:
        return (jnp.where(pred, old.at[index].set(x[index] * 3), old) * values[::-1]).sum()

    for pred in (True, False):
        both = [jax.jit(jax.value_and_grad(f, (1, 2)))(pred, values, old) for f in (run, plain)]
        close(*both)


# https://github.com/patrick-kidger/equinox/issues/282
@pytest.mark.parametrize(
    "read", [jnp.asarray, jnp.sum, np.asarray, list, lambda b: b + jnp.ones(2)]
)
def test_a_buffer_is_no_array(read: Any):
    def body(state: Any) -> Any:
        read(state[1])
        return state[0] + 1, state[1]

    state = (0, jnp.zeros(2))
    with pytest.raises(TypeError, match="element by element"):
        ft.while_loop(lambda s: s[0] < 2, body, state, buffers=lambda s: s[1], kind="lax")
