"""What a loop may carry, and what of it is differentiated."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import nondifferentiable


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


def test_max_steps_may_be_traced_where_the_loop_is_not_differentiated():
    # The rules of a loop may not close over it: they run when its trace is over.
    def f(x: Any, n: Any) -> Any:
        step = lambda s: (s[0] + 1, jnp.sin(s[1]) * x)  # noqa: E731
        init = (0, x)
        return ft.while_loop(
            lambda s: s[0] < 9, step, init, kind="checkpointed", max_steps=n, checkpoints=3
        )[1]

    def unrolled(x: Any) -> Any:
        y = x
        for _ in range(7):
            y = jnp.sin(y) * x
        return y

    x, n = jnp.array(1.3), jnp.array(7)
    expected = jax.grad(unrolled)(x)
    for wrap in (lambda f: f, jax.jit, jax.checkpoint):
        close(jax.grad(wrap(f))(x, n), expected)
    found = jax.vmap(jax.grad(jax.jit(f)), in_axes=(None, 0))(x, jnp.array([7, 0]))
    close(found, jnp.stack([expected, jnp.array(1.0)]))


@pytest.mark.parametrize("kind", ["bounded", "checkpointed"])
def test_any_tree_is_a_state(kind: Any):
    # Zero-size arrays, no arrays, weakly typed numbers, booleans, and non-array leaves.
    # https://github.com/patrick-kidger/equinox/commit/a916f9c
    def body(state: Any) -> Any:
        assert state["name"] == "tanh" and state["f"] is jnp.tanh and state["none"] is None
        new = state | {"x": state["f"](state["x"]), "i": state["i"] + 1, "even": ~state["even"]}
        new["key"] = jax.random.fold_in(state["key"], 1)
        return new | {"empty": state["empty"] * 2, "grown": state["grown"] + jnp.float32(1)}

    def run(x: Any) -> Any:
        init = {
            "x": x,
            "i": 0,
            "even": True,
            "empty": jnp.zeros((0, 3)),
            "grown": 1.0,
            "key": jax.random.key(3, impl="rbg"),
            "name": "tanh",
            "f": jnp.tanh,
            "none": None,
        }
        return ft.while_loop(lambda s: s["i"] < 3, body, init, kind=kind, max_steps=8)

    out = ft.filter_jit(run)(0.5)
    assert out["f"] is jnp.tanh and out["name"] == "tanh" and out["i"] == 3
    assert not out["even"] and out["grown"] == 4 and out["empty"].shape == (0, 3)
    found = jax.jit(jax.grad(lambda x: run(x)["x"]))(0.5)
    tanh3 = jax.grad(lambda x: jnp.tanh(jnp.tanh(jnp.tanh(x))))(0.5)
    np.testing.assert_allclose(found, tanh3, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bounded", "checkpointed"])
def test_what_is_not_differentiated_gets_no_tangent(kind: Any):
    # https://github.com/patrick-kidger/equinox/issues/697
    def run(x: Any, t: Any) -> Any:
        def body(state: Any) -> Any:
            i, x, t = state
            return i + 1, x * t, nondifferentiable(t) + 1.0

        return ft.while_loop(lambda s: s[0] < 3, body, (0, x, t), kind=kind, max_steps=4)[1]

    assert jax.jit(jax.grad(run))(2.0, 1.0) == 6
    with pytest.raises(RuntimeError, match=r"differentia"):
        jax.grad(run, 1)(2.0, 1.0)


@pytest.mark.parametrize("kind", ["bounded", "checkpointed"])
def test_examples_that_have_stopped_spoil_nothing(kind: Any):
    # At the state in which the first example stops, the derivative of the body is infinite.
    def run(n: Any, x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y = state
            return i + 1, jnp.sqrt(y) - 1.0

        state = (0, x)
        return ft.while_loop(lambda s: s[0] < n, body, state, kind=kind, max_steps=4)[1]

    found = jax.jit(jax.vmap(jax.grad(run, 1)))(jnp.array([1, 2]), jnp.array([1.0, 16.0]))
    np.testing.assert_allclose(found, [0.5, 0.125 * 0.5 / np.sqrt(3)], rtol=1e-6)
