"""Loops of each kind: values and derivatives against unrolled loops and finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import filtered_transforms as ft
from filtered_transforms.extend import buffer_at_set

pytestmark = pytest.mark.heavy

MOST = 12
KINDS: dict[str, dict[str, Any]] = {
    "lax": {"kind": "lax", "max_steps": MOST},
    "bounded": {"kind": "bounded", "max_steps": MOST},
    "bounded in blocks": {"kind": "bounded", "max_steps": MOST, "base": 2},
    "checkpointed": {"kind": "checkpointed", "max_steps": MOST},
    "one checkpoint": {"kind": "checkpointed", "checkpoints": 1},
    "two checkpoints": {"kind": "checkpointed", "max_steps": MOST, "checkpoints": 2},
    "three checkpoints": {"kind": "checkpointed", "checkpoints": 3},
    "four checkpoints": {"kind": "checkpointed", "checkpoints": 4},
    "all checkpoints": {"kind": "checkpointed", "checkpoints": MOST + 1},
}
REVERSE = {name: options for name, options in KINDS.items() if name != "lax"}
X = jnp.array([0.5, -1.2])
W = jnp.array([[0.9, -0.4], [0.3, 1.1]])
SAVED = jnp.linspace(0.2, 1.0, MOST + 3)
COUNTS = [0, 1, 2, 5, MOST]


def go_on(n: Any, state: Any) -> Any:
    return state["i"] < n


def step(w: Any, state: Any) -> Any:
    # An integer in the carry, something closed over, a buffer that is read and written.
    i, y, saved = state["i"], state["y"], state["saved"]
    y = jnp.sin(w @ y) * saved[i] + 0.3 * y
    return {"i": i + 1, "y": y, "saved": buffer_at_set(saved, i + 1, y.sum() * w[0, 0])}


def start(x: Any, saved: Any) -> Any:
    return {"i": jnp.array(0), "y": x, "saved": saved}


def unrolled(n: Any, w: Any, state: Any) -> Any:
    for _ in range(MOST):
        new = step(w, state)
        state = jax.tree.map(partial(jnp.where, go_on(n, state)), new, state)
    return state


def looped(options: Any, n: Any, w: Any, state: Any) -> Any:
    return ft.while_loop(
        partial(go_on, n), partial(step, w), state, buffers=lambda s: s["saved"], **options
    )


def loss(run: Callable[..., Any], n: Any, x: Any, w: Any, saved: Any) -> Any:
    out = run(n, w, start(x, saved))
    return (out["y"] ** 2).sum() + (out["saved"] * jnp.arange(1.0, saved.size + 1)).sum()


def derivatives(run: Callable[..., Any]) -> Callable[..., Any]:
    return jax.value_and_grad(partial(loss, run), (1, 2, 3))


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


@pytest.fixture(scope="module")
def expected() -> dict[int, Any]:
    of = jax.jit(derivatives(unrolled))
    return {n: of(n, X, W, SAVED) for n in COUNTS}


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("kind", REVERSE)
def test_gradients_are_those_of_an_unrolled_loop(kind: Any, expected: dict[int, Any]):
    of = jax.jit(derivatives(partial(looped, KINDS[kind])))
    for n in COUNTS:
        close(of(n, X, W, SAVED), expected[n])


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("kind", ["bounded in blocks", "checkpointed", "two checkpoints"])
def test_each_example_of_a_batch_stops_by_itself(kind: Any, expected: dict[int, Any]):
    # 408: gradients of examples that had stopped before others were wrong.
    # https://github.com/patrick-kidger/equinox/issues/408
    run = partial(looped, KINDS[kind])
    mapped = jax.jit(jax.vmap(derivatives(run), (0, None, None, None)))
    value, grads = mapped(jnp.array(COUNTS), X, W, SAVED)
    for j, n in enumerate(COUNTS):
        close((value[j], tuple(g[j] for g in grads)), expected[n])

    def total(n: Any, x: Any, w: Any, saved: Any) -> Any:
        return jax.vmap(partial(loss, run), (0, None, None, None))(n, x, w, saved).sum()

    summed = jax.jit(jax.grad(total, (1, 2, 3)))(jnp.array(COUNTS), X, W, SAVED)
    close(summed, tuple(g.sum(0) for g in grads), 1e-4)


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("checkpoints", [2, 3, 6, 20, 149, 150])
@pytest.mark.parametrize("max_steps", [None, 150])
def test_many_steps_with_few_checkpoints(checkpoints: int, max_steps: int | None):
    def body(w: Any, state: Any) -> Any:
        i, y = state
        return i + 1, jnp.sin(w @ y) + 0.1 * y * jnp.cos(i)

    def by_while(w: Any, y: Any) -> Any:
        options: Any = {"max_steps": max_steps, "checkpoints": checkpoints}
        go_on = lambda state: state[0] < 149  # noqa: E731
        out = ft.while_loop(go_on, partial(body, w), (0, y), kind="checkpointed", **options)
        return (out[1] ** 2).sum()

    def by_scan(w: Any, y: Any) -> Any:
        out = jax.lax.scan(lambda state, _: (body(w, state), None), (0, y), length=149)[0]
        return (out[1] ** 2).sum()

    found, right = (jax.jit(jax.value_and_grad(f, (0, 1)))(W, X) for f in (by_while, by_scan))
    close(found, right, 1e-4)


def of_vector(run: Callable[..., Any], x: Any) -> Any:
    return loss(run, 3, x, W, SAVED[:6])


def three_steps(n: int, w: Any, state: Any) -> Any:
    for _ in range(n):
        state = step(w, state)
    return state


@pytest.fixture(scope="module")
def hessian() -> Any:
    return jax.jit(jax.hessian(partial(of_vector, three_steps)))(X)


@pytest.mark.usefixtures("each_way_back")
@pytest.mark.parametrize("kind", ["bounded", "two checkpoints", "checkpointed"])
def test_forward_over_reverse_mode(kind: Any, hessian: Any):
    found = jax.jit(jax.hessian(partial(of_vector, partial(looped, KINDS[kind]))))(X)
    close(found, hessian, 1e-4)


def test_reverse_over_reverse_mode_of_a_bounded_loop(hessian: Any):
    f = partial(of_vector, partial(looped, KINDS["bounded"] | {"max_steps": 4}))
    close(jax.jit(jax.jacrev(jax.jacrev(f)))(X), hessian, 1e-4)


@pytest.mark.parametrize("kind", ["lax", "bounded in blocks"])
def test_forward_mode(kind: Any):
    found = jax.jit(jax.jacfwd(partial(of_vector, partial(looped, KINDS[kind]))))(X)
    close(found, jax.jit(jax.grad(partial(of_vector, three_steps)))(X))


def test_finite_differences():
    f = partial(loss, partial(looped, KINDS["three checkpoints"]), 4)
    check_grads(jax.jit(f), (X, W, SAVED), order=1, modes=["rev"], atol=0.02, rtol=0.02, eps=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_ends_at_max_steps(kind: Any):
    def run(max_steps: int) -> Any:
        options: dict[str, Any] = KINDS[kind] | {"max_steps": max_steps}
        return ft.while_loop(
            lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1] * 2), (0, 1.0), **options
        )

    assert jax.tree.map(float, run(3)) == (3, 8)
    assert jax.tree.map(float, run(0)) == (0, 1)
