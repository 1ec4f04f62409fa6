"""Loops within loops, and what their functions close over."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft

pytestmark = pytest.mark.heavy

X = jnp.array([0.5, -1.2])


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


@pytest.mark.parametrize("outer", ["jax.lax.scan", "jax.lax.map", "bounded", "with a buffer"])
def test_reverse_over_reverse_mode_of_a_bounded_loop_within_another(outer: str):
    def inner(y: Any) -> Any:
        def step(state: Any) -> Any:
            return state[0] + 1, jnp.sin(state[1]) * 1.1

        return ft.while_loop(lambda s: s[0] < 3, step, (0, y), max_steps=4, kind="bounded")[1]

    def plain(y: Any) -> Any:
        for _ in range(3):
            y = jnp.sin(y) * 1.1
        return y

    def run(x: Any, z: Any, inner: Any, outer: str) -> Any:
        if outer == "jax.lax.map":
            return jax.lax.map(inner, x * jnp.arange(3.0)) @ (z * jnp.arange(3.0))

        def step(state: Any) -> Any:
            i, y, z, b = state
            y = inner(y)
            return i + 1, y, z * y, b.at[i].set(y)

        state = 0, x, z, jnp.zeros(3)
        if outer == "plain":
            for _ in range(3):
                state = step(state)
        elif outer == "jax.lax.scan":
            state = jax.lax.scan(lambda s, _: (step(s), None), state, length=3)[0]
        else:
            buffers = (lambda s: s[3]) if outer == "with a buffer" else None
            options = {"max_steps": 4, "buffers": buffers, "kind": "bounded"}
            state = ft.while_loop(lambda s: s[0] < 3, step, state, **options)
        return state[2] + (state[3] ** 2).sum()

    def derivatives(inner: Any, outer: str) -> Any:
        of_both = jax.grad(partial(run, inner=inner, outer=outer), (0, 1))
        # Each alone, too: where the loop has no tangent at first.
        mixed = jax.grad(lambda x, z: jax.grad(run, 1)(x, z, inner, outer))
        return jax.jacrev(of_both, (0, 1))(0.7, 0.3), mixed(0.7, 0.3)

    close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    unrolled = outer if outer == "jax.lax.map" else "plain"
    jax.tree.map(close, derivatives(inner, outer), derivatives(plain, unrolled))


@pytest.mark.parametrize("inner", ["lax", "bounded", "checkpointed"])
def test_nested_loops_that_write_to_the_same_buffer(inner: Any):
    # The inner loop makes two steps, and writes each to the buffer of the outer.
    def run(x: Any, saved: Any) -> Any:
        def outer(state: Any) -> Any:
            i, y, saved = state

            def body(state: Any) -> Any:
                j, y, saved = state
                y = jnp.sin(y) * x
                return j + 1, y, saved.at[2 * i + j].set(y.sum())

            init = (jnp.array(0), y, saved)
            out = inner_loop(lambda s: s[0] < 2, body, init, lambda s: s[2])
            return i + 1, out[1], out[2]

        def inner_loop(cond: Any, body: Any, init: Any, buffers: Any) -> Any:
            if inner == "lax":  # which has no reverse mode, so that its gradient is not taken
                stopped = jax.lax.stop_gradient
                cond, body = cond, lambda s, body=body: body((s[0], stopped(s[1]), s[2]))
                return body(body(init))
            return ft.while_loop(cond, body, init, buffers=buffers, kind=inner, max_steps=2)

        init = (jnp.array(0), x, saved)
        *_, y, saved = ft.while_loop(
            lambda s: s[0] < 3,
            outer,
            init,
            buffers=lambda s: s[2],
            kind="checkpointed",
            max_steps=4,
        )
        return y.sum() + (saved * jnp.arange(1.0, 9.0)).sum()

    def plain(x: Any, saved: Any) -> Any:
        y = x
        for k in range(6):
            y = jnp.sin(jax.lax.stop_gradient(y) if inner == "lax" else y) * x
            saved = saved.at[k].set(y.sum())
        return y.sum() + (saved * jnp.arange(1.0, 9.0)).sum()

    args = X, jnp.ones(8)
    close(jax.jit(jax.grad(run, (0, 1)))(*args), jax.jit(jax.grad(plain, (0, 1)))(*args))


# https://github.com/patrick-kidger/equinox/issues/752
# https://github.com/patrick-kidger/equinox/commit/d3a01c8
@pytest.mark.parametrize("inner", ["bounded", "checkpointed"])
@pytest.mark.parametrize("outer", ["bounded", "checkpointed"])
def test_what_is_closed_over_may_be_traced_anywhere(outer: Any, inner: Any):
    # The condition and the body close over tracers of `jit`, `vmap`, `jvp`, `grad` and of another
    # loop; neither the tracers nor the functions are ever compared or hashed. (Forward mode of
    # reverse mode of checkpointed loops within each other fails in Equinox.)
    def run(inner_loop: Any, loop: Any, a: Any, b: Any, c: Any) -> Any:
        def outer(state: Any) -> Any:
            i, y = state
            far = y * b

            def body(state: Any) -> Any:
                j, z = state
                return j + 1, jnp.sin(z * a) + far * jax.lax.stop_gradient(c)

            return i + 1, inner_loop(lambda s: (s[0] < 2) & (s[1] < 9 + far), body, (0, y))[1]

        return loop(lambda s: (s[0] < 3) & (s[1] < 9 + c), outer, (0, a))[1]

    def unrolled(cond: Any, body: Any, state: Any) -> Any:
        for _ in range(3):
            new, go_on = body(state), cond(state)
            state = jax.tree.map(lambda x, y, go_on=go_on: jnp.where(go_on, x, y), new, state)
        return state

    loops = [partial(ft.while_loop, kind=kind, max_steps=3) for kind in (inner, outer)]

    def of_all(*loops: Any) -> Any:
        def slope(a: Any, b: Any, c: Any) -> Any:
            gradient = jax.grad(partial(run, *loops), (0, 1))
            if (outer, inner) == ("bounded", "checkpointed"):  # reverse mode alone
                return gradient(a, b, c)
            return jax.jvp(gradient, (a, b, c), (1.0, 2.0, 0.5))

        return jax.jit(jax.vmap(slope, in_axes=(0, None, 0)))

    args = jnp.array([0.3, -0.8]), 0.7, jnp.array([0.2, 1.4])
    close(of_all(*loops)(*args), of_all(unrolled, unrolled)(*args), 1e-4)


# https://github.com/patrick-kidger/equinox/issues/972
def test_derivatives_of_derivatives_of_solves_in_loops():
    # It crashed the process there; so it is done often, and in each kind of program.
    def run(matrix: Any, x: Any) -> Any:
        def body(state: Any) -> Any:
            i, y = state
            return i + 1, jnp.linalg.solve(matrix, jnp.tanh(y))

        return ft.while_loop(lambda s: s[0] < 3, body, (0, x), kind="bounded", max_steps=3)[1]

    def plain(matrix: Any, x: Any) -> Any:
        for _ in range(3):
            x = jnp.linalg.solve(matrix, jnp.tanh(x))
        return x

    def twice(run: Any) -> Any:
        def once(matrix: Any, x: Any) -> Any:
            return jax.jvp(run, (matrix, x), (jnp.cos(matrix), jnp.sin(x)))[1]

        return jax.jit(lambda m, x: jax.jvp(once, (m, x), (jnp.sin(m), jnp.cos(x)))[1])

    of_loop, of_plain = twice(run), twice(plain)
    for seed in range(20):
        matrix = jax.random.normal(jax.random.key(seed), (3, 3)) + 4 * jnp.eye(3)
        close(of_loop(matrix, jnp.ones(3)), of_plain(matrix, jnp.ones(3)), 1e-4)
