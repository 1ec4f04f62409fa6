"""Loops of each kind: values and derivatives against `jax.lax` and unrolled loops; one rule."""

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
from pytree_module import Module

pytestmark = pytest.mark.heavy

STEPS = 6
W = jnp.array([[0.9, -0.4], [0.3, 1.1]])
X = jnp.array([0.5, -1.2])
XS = jnp.linspace(-1.0, 1.0, STEPS)
KINDS: dict[str, dict[str, Any]] = {
    "lax": {"kind": "lax"},
    "bounded": {"kind": "bounded"},
    "checkpointed": {"kind": "checkpointed"},
    "two checkpoints": {"kind": "checkpointed", "checkpoints": 2},
    "all": {"kind": "checkpointed", "checkpoints": "all"},
}


class State(Module):
    """A carry with all that a carry may hold."""

    y: Any
    seen: Any  # a buffer
    activation: Callable[[Any], Any] = jnp.sin
    factor: float = 0.5
    flag: bool = True
    names: tuple[str, int] = ("cell", 3)


def advance(w: Any, state: State, i: Any) -> State:
    assert state.activation is jnp.sin and state.factor == 0.5 and type(state.factor) is float
    assert state.flag is True and state.names == ("cell", 3)
    y = state.activation(w @ state.y) + state.factor * jnp.asarray(i, jnp.float32) * state.y
    return State(y, buffer_at_set(state.seen, i, y[0] * w[0, 0]))


def unrolled(w: Any, x: Any, n: int = STEPS) -> State:
    state = State(x, jnp.zeros(STEPS + 1))
    for i in range(n):
        state = advance(w, state, i)
    return state


def by_scan(options: Any, w: Any, x: Any, n: Any = None) -> State:
    def step(state: State, i: Any) -> Any:
        new = advance(w, state, i)
        return new, (new.y, new.activation, 7)

    init = State(x, jnp.zeros(STEPS + 1))
    state, ys = ft.filter_scan(step, init, jnp.arange(STEPS), **options)
    assert ys[1:] == (jnp.sin, 7) and type(ys[2]) is int
    return state


def by_while(options: Any, w: Any, x: Any, n: Any = STEPS) -> State:
    def step(carry: Any) -> Any:
        return carry[0] + 1, advance(w, carry[1], carry[0])

    init = jnp.asarray(0), State(x, jnp.zeros(STEPS + 1))
    more: dict[str, Any] = {"max_steps": STEPS + 1, **options}
    if "buffers" in more:
        more["buffers"] = lambda carry: carry[1].seen
    return ft.filter_while_loop(lambda carry: carry[0] < n, step, init, **more)[1]


def by_fori(options: Any, w: Any, x: Any, n: Any = STEPS) -> State:
    init = State(x, jnp.zeros(STEPS + 1))
    body = lambda i, state: advance(w, state, i)  # noqa: E731
    more: dict[str, Any] = {"max_steps": STEPS + 1, **options}
    return ft.filter_fori_loop(0, n, body, init, **more)


LOOPS = {"scan": by_scan, "while": by_while, "fori": by_fori}
HAS_REVERSE = {(name, kind) for name in LOOPS for kind in KINDS} - {("while", "lax")}


def loss(run: Callable[..., State], w: Any, x: Any, *n: Any) -> Any:
    out = run(w, x, *n)
    return (out.y**2).sum() + (out.seen * jnp.arange(1.0, STEPS + 2)).sum()


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected
    )


@pytest.fixture(scope="module")
def expected() -> Any:
    return jax.value_and_grad(partial(loss, unrolled), (0, 1))(W, X)


@pytest.mark.parametrize("buffers", [False, True], ids=["carried", "buffer"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOOPS)
def test_any_carry_and_its_gradient_are_those_of_an_unrolled_loop(
    name: str, kind: str, buffers: bool, expected: Any
):
    options = KINDS[kind] | ({"buffers": lambda state: state.seen} if buffers else {})
    run = partial(LOOPS[name], options)
    out = ft.filter_jit(run)(W, X)
    assert out.names == ("cell", 3) and out.factor == 0.5 and type(out.factor) is float
    of = partial(loss, run)
    has_reverse = (name, kind) in HAS_REVERSE
    mode: Any = jax.value_and_grad(of, (0, 1)) if has_reverse else jax.jacfwd(of, (0, 1))

    def all_at_once(w: Any, x: Any) -> Any:  # one program is quicker to compile
        return mode(w, x), jax.vmap(mode, (None, 0))(w, jnp.stack([x, -x]))

    one, many = jax.jit(all_at_once)(W, X)
    close(one, expected if has_reverse else expected[1])
    close(jax.tree.map(lambda leaf: leaf[0], many), one)


@pytest.mark.parametrize("kind", ["bounded", "checkpointed", "two checkpoints"])
@pytest.mark.parametrize("name", ["while", "fori"])
def test_each_example_stops_by_itself_and_bounds_may_be_traced(name: str, kind: str):
    counts = jnp.array([0, 2, STEPS])
    gradient = jax.value_and_grad(partial(loss, partial(LOOPS[name], KINDS[kind])), (0, 1))
    found = jax.jit(jax.vmap(gradient, (None, None, 0)))(W, X, counts)
    for j, n in enumerate(map(int, counts)):
        right = jax.value_and_grad(partial(loss, partial(unrolled, n=n)), (0, 1))(W, X)
        close(jax.tree.map(lambda leaf, j=j: leaf[j], found), right)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_of_each_kind_is_that_of_jax(kind: str, reverse: bool):
    def run(scan: Any, x: Any, xs: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            new = jnp.sin(W @ carry) + row
            return new, {"product": new * row, "row": row}

        last, ys = scan(step, x, xs, reverse=reverse)
        weights = jnp.arange(1.0, STEPS + 1)[:, None]
        total = (last**3).sum() + (ys["product"] ** 2 * weights).sum() + (ys["row"] * xs).sum()
        return total, (last, ys)

    derivative = lambda scan: jax.jit(  # noqa: E731
        jax.value_and_grad(partial(run, scan), (0, 1), has_aux=True)
    )
    ours = partial(ft.filter_scan, **KINDS[kind])
    close(derivative(ours)(X, XS), derivative(jax.lax.scan)(X, XS))
    none = lambda scan, xs: run(scan, X, xs)[1][0]  # noqa: E731
    empty = jnp.zeros((0,))
    last, _ = ours(lambda c, x: (c + x, x), X, empty, reverse=reverse)
    close(last, X)
    close(none(ours, XS), none(jax.lax.scan, XS))


def test_finite_differences():
    run = partial(loss, partial(by_fori, KINDS["two checkpoints"]), W)
    check_grads(jax.jit(run), (X,), order=1, modes=["rev"], atol=0.02, rtol=0.02, eps=1e-2)
    scan = partial(loss, partial(by_scan, KINDS["two checkpoints"] | {"reverse": True}), W)
    check_grads(jax.jit(scan), (X,), order=1, modes=["rev"], atol=0.02, rtol=0.02, eps=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_is_that_of_jax(kind: str):
    # The type of the index, empty ranges, and bounds of two types.
    def run(loop: Any, lower: Any, upper: Any) -> Any:
        seen = []

        def body(i: Any, c: Any) -> Any:
            seen.append((i.dtype, jax.typeof(i).weak_type))
            return c * 2 + i.astype(c.dtype)

        out = loop(lower, upper, body, jnp.int32(1))
        return out, seen[0]

    ours = partial(ft.filter_fori_loop, **KINDS[kind], max_steps=9)
    for bounds in [(0, 5), (2, 4), (4, 2), (jnp.int8(1), 4), (-3, jnp.int16(2))]:
        (found, index), (right, expected) = run(ours, *bounds), run(jax.lax.fori_loop, *bounds)
        assert found == right
        if kind != "bounded":  # which is a `while_loop`, and has the type that has with bounds
            assert index == expected  # that are traced
        types: Any = []

        def traced(loop: Any, lower: Any, upper: Any, types: Any = types) -> Any:
            out, index = run(loop, lower, upper)
            types.append(index)
            return out

        both = [jax.jit(partial(traced, loop))(*bounds) for loop in (ours, jax.lax.fori_loop)]
        assert both[0] == both[1] and types[0] == types[1]


@pytest.mark.parametrize("kind", KINDS)
def test_max_steps_end_a_loop(kind: str):
    double = lambda *args: args[-1] * 2  # noqa: E731
    for most in (0, 3, jnp.int32(3)):
        if kind == "bounded" or "checkpoints" not in KINDS[kind]:
            most = int(most)
        if kind == "all" and not isinstance(most, int):
            continue
        options: Any = {**KINDS[kind], "max_steps": most}
        one = jnp.asarray(1.0)
        assert ft.filter_while_loop(lambda c: c < 99, double, one, **options) == 2.0 ** int(most)
        assert ft.filter_fori_loop(0, 9, double, one, **options) == 2.0 ** int(most)
        assert ft.filter_fori_loop(0, 1, double, one, **options) == 2.0 ** min(int(most), 1)


# What a body returns that it may not, and what the error says: the same for each kind.
BAD: dict[str, tuple[Any, Callable[[Any], Any], str]] = {
    "number": (
        (X, 0),
        lambda c: (c[0], c[1] + 1),
        r"At \[1\] it was 0, .* 1\..*`jnp.asarray\(0\)`",
    ),
    "text": ((X, "a"), lambda c: (c[0], "b"), r"At \[1\] it was 'a', .* 'b'"),
    "array for a number": (
        (X, 1.0),
        lambda c: (c[0], c[0][0]),
        r"At \[1\] it was 1.0, .*array float",
    ),
    "structure": ({"x": X}, lambda c: {"x": None}, r"At \['x'\] it was an array .*None"),
    "shape": ({"x": X}, lambda c: {"x": c["x"][:1]}, r"(?s)float32\[2\].*float32\[1\]"),
    "dtype": ([X > 0], lambda c: [X], r"(?s)bool\[2\].*float32\[2\]"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_one_rule_for_what_is_no_array(kind: Any, bad: str):
    init, f, message = BAD[bad]
    with pytest.raises(TypeError, match=message):
        ft.filter_scan(lambda c, x: (f(c), x), init, XS, kind=kind)
    with pytest.raises(TypeError, match=message):
        ft.filter_fori_loop(0, 3, lambda i, c: f(c), init, kind=kind, max_steps=3)
    with pytest.raises(TypeError, match=message):
        ft.filter_while_loop(lambda c: jnp.array(True), f, init, kind=kind, max_steps=3)


@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_a_number_for_an_array_becomes_one(kind: Any):
    out, _ = ft.filter_scan(lambda c, x: ({"done": True}, x), {"done": X[0] > 9}, XS, kind=kind)
    assert out["done"].dtype == bool and out["done"]
    loop = ft.filter_while_loop(
        lambda c: ~c["done"], lambda c: {"done": True}, {"done": X[0] > 9}, kind=kind, max_steps=3
    )
    assert loop["done"]


BUFFERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an array": (lambda c: (c[0] + 1, X), r"At \[1\] it returned an array float32\[2\]"),
    "an element": (lambda c: (c[0] + 1, c[1][0]), r"At \[1\] it returned an array float32\[\]"),
    "elsewhere": (lambda c: (c[1], c[1]), r"stand where it stood. At \[0\] it was an array"),
    "nothing": (lambda c: (c[0] + 1, None), r"At \[1\]"),
}


@pytest.mark.parametrize("bad", BUFFERS)
@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_a_buffer_stays_where_it_stood(kind: Any, bad: str):
    body, message = BUFFERS[bad]
    with pytest.raises(TypeError, match=f"`filter_while_loop`.*{message}"):
        ft.filter_while_loop(
            lambda c: c[0] < 3,
            body,
            (jnp.asarray(0), X),
            kind=kind,
            max_steps=3,
            buffers=lambda c: c[1],
        )


def test_buffers_must_be_arrays_of_the_carry():
    with pytest.raises(TypeError, match="`filter_scan`: `buffers` must return arrays"):
        ft.filter_scan(lambda c, x: (c, x), (X, 3), XS, buffers=lambda c: c[1])


def test_memory_is_that_of_the_checkpoints():
    # By the analysis of the compiled program; the scan of JAX keeps something of each step.
    w = jnp.ones(1000)

    def used(**options: Any) -> int:
        def total(x: Any) -> Any:
            return ft.filter_scan(lambda c, _: (jnp.sin(w * c), None), x, None, 1000, **options)[
                0
            ].sum()

        found: Any = jax.jit(jax.grad(total)).lower(w).compile().memory_analysis()
        return found.temp_size_in_bytes

    def in_range(x: Any, n: Any) -> Any:
        body = lambda i, c: jnp.sin(w * c)  # noqa: E731
        return ft.filter_fori_loop(0, n, body, x, kind="checkpointed", checkpoints=8).sum()

    assert used(kind="checkpointed", checkpoints=8) < 20 * w.nbytes < used() / 10
    found: Any = jax.jit(jax.grad(in_range)).lower(w, 3).compile().memory_analysis()
    assert found.temp_size_in_bytes < 20 * w.nbytes
