"""`while_loop` and `scan`: values and derivatives against unrolled loops and finite differences."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import filtered_transforms as ft
from filtered_transforms.extend import buffer_at_set, nondifferentiable

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
    # Zero-size arrays, no arrays, weakly typed numbers, booleans, and what is no array.
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
    with pytest.raises(TypeError, match="place by place"):
        ft.while_loop(lambda s: s[0] < 2, body, state, buffers=lambda s: s[1], kind="lax")


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


def scan_step(w: Any, carry: Any, x: Any) -> Any:
    i, y, saved = carry
    y = jnp.sin(w @ y) + x["x"]
    return (i + 1, y, buffer_at_set(saved, i, y[0])), {"twice": y * 2, "i": i, "name": x["name"]}


def scan_loss(scan: Callable[..., Any], w: Any, y: Any, saved: Any, xs: Any) -> Any:
    init, given = (jnp.array(0), y, saved), {"x": xs, "name": "tanh"}
    (_, y, saved), ys = scan(partial(scan_step, w), init, given)
    assert ys["name"] == "tanh" and ys["i"].shape == (xs.shape[0],)
    weights = jnp.arange(1.0, saved.size + 1)
    return (y**3).sum() + (saved * weights).sum() + (ys["twice"] ** 2).sum()


@pytest.mark.parametrize("kind", ["lax", "checkpointed", "all", 1, 3])
@pytest.mark.parametrize("length", [0, 1, 9])
def test_scan(kind: Any, length: int):
    # Against JAX's, in which the buffer is an array like others.
    options: dict[str, Any] = {"kind": "checkpointed", "checkpoints": kind}
    if kind in ("lax", "checkpointed"):
        options = {"kind": kind}
    ours = partial(ft.scan, buffers=lambda carry: carry[2], **options)
    args = W, X, jnp.ones(12), jnp.linspace(0.0, 1.0, 2 * length).reshape(length, 2)
    both = [
        jax.jit(jax.value_and_grad(partial(scan_loss, scan), (0, 1, 2, 3)))(*args)
        for scan in (ours, ft.filter_scan)
    ]
    close(*both)


def test_scan_over_no_arrays():
    carry, ys = ft.scan(lambda c, x: (c + 1, (x, c)), 0, None, 3, kind="checkpointed")
    assert carry == 3 and ys[0] is None and ys[1].tolist() == [0, 1, 2]
