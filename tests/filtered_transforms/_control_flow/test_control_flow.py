"""Loops and branches: on trees of arrays as `jax.lax`, bit for bit; and with all other things."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from pytree_module import Module, field

pytestmark = pytest.mark.heavy

X = jnp.linspace(-1.0, 2.0, 12).reshape(6, 2)
V = jnp.array([0.5, -1.5])


def step(carry: Any, x: Any) -> Any:
    new = {"h": jnp.tanh(carry["h"] * 1.1 + x), "n": carry["n"] + 1}
    return new, (new["h"] * x, carry["n"])


def carry(v: jax.Array) -> Any:
    return {"h": v, "n": jnp.array(0)}


def scan(**options: Any) -> Callable[..., Any]:
    return lambda lib, x, v: lib["scan"](step, carry(v), x, **options)


def advance(c: Any) -> Any:
    return {"h": jnp.sin(c["h"]) + 1, "n": c["n"] + 1}


def fori(**options: Any) -> Callable[..., Any]:
    def run(lib: Any, x: Any, v: Any) -> Any:
        def body(i: Any, h: Any) -> Any:
            return jnp.tanh(h + x[i])

        return lib["fori_loop"](0, 5, body, v, **options)

    return run


def branch(which: Any) -> Callable[..., Any]:
    fs = [lambda x, v: {"y": x * v}, lambda x, v: {"y": jnp.sin(x)}, lambda x, v: {"y": x + 1}]

    def run(lib: Any, x: Any, v: Any) -> Any:
        if isinstance(which, bool):
            return lib["cond"](v.sum() < 0 if which else v.sum() > 0, fs[0], fs[1], x, x)
        return lib["switch"](jnp.where(v[0] > 9, 0, which), fs, x, x)

    return run


def affine(a: Any, b: Any) -> Any:
    return {"m": a["m"] * b["m"], "c": b["m"] * a["c"] + b["c"]}


def associative(**options: Any) -> Callable[..., Any]:
    return lambda lib, x, v: lib["associative_scan"](affine, {"m": x, "c": x * v[0]}, **options)


def mapped(**options: Any) -> Callable[..., Any]:
    return lambda lib, x, v: lib["map"](lambda row: {"y": row * v, "z": row.sum()}, x, **options)


CASES: dict[str, tuple[Callable[..., Any], bool]] = {  # and whether reverse mode works
    "scan": (scan(), True),
    "scan reverse": (scan(reverse=True), True),
    "scan length": (scan(length=6), True),
    "scan unroll": (scan(unroll=4), True),
    "scan unrolled": (scan(unroll=True), True),
    "scan split transpose": (scan(_split_transpose=True), True),
    "scan without xs": (
        lambda lib, x, v: lib["scan"](lambda c, _: (jnp.sin(c), c), x * v[0], length=3),
        True,
    ),
    "while": (
        lambda lib, x, v: lib["while_loop"](lambda c: c["n"] < 4, advance, carry(x * v[0])),
        False,
    ),
    "fori": (fori(), True),
    "fori unroll": (fori(unroll=2), True),
    "fori traced": (
        lambda lib, x, v: lib["fori_loop"](
            jnp.array(1), jnp.argmax(v) + 3, lambda i, h: h * (i + 1).astype(h.dtype), x * v[0]
        ),
        False,
    ),
    "cond true": (branch(True), True),
    "cond false": (branch(False), True),
    "cond operand": (
        lambda lib, x, v: lib["cond"](v[0] > 0, jnp.sin, jnp.cos, operand=x),
        True,
    ),
    "switch 0": (branch(0), True),
    "switch 2": (branch(2), True),
    "switch clamped": (branch(7), True),
    "map": (mapped(), True),
    "map in batches": (mapped(batch_size=4), True),
    "associative": (associative(), True),
    "associative reverse": (associative(reverse=True), True),
    "associative axis": (associative(axis=-1), True),
}
LAX = {
    name: getattr(jax.lax, name)
    for name in ["scan", "while_loop", "fori_loop", "cond", "switch", "map", "associative_scan"]
}
OURS = {name: getattr(ft, f"filter_{name}") for name in LAX}


def loss(f: Any) -> Callable[..., Any]:
    def total(x: Any, v: Any) -> Any:
        leaves = jax.tree.leaves(f(x, v))
        return sum(leaf.sum() for leaf in leaves if leaf.dtype == jnp.float32)

    return total


def transformed(f: Any, reverse: bool) -> Callable[..., Any]:
    """All transformations of `f` at once, in one program: that is quicker to compile."""

    def run(x: Any, v: Any) -> dict[str, Any]:
        many = jnp.stack([v, -v, 3 * v])
        return {
            "jit": f(x, v),
            "vmap": jax.vmap(f, in_axes=(None, 0))(x, many),
            "jvp": jax.jvp(f, (x, v), (x, v)),
            # JAX has no reverse mode for loops of unknown length.
            "grad": jax.grad(loss(f), argnums=(0, 1))(x, v) if reverse else None,
        }

    return jax.jit(run)


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        assert a.dtype == b.dtype and getattr(a, "weak_type", 0) == getattr(b, "weak_type", 0)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", CASES)
def test_trees_of_arrays_are_as_in_jax(case: str):
    run, reverse = CASES[case]
    ours, theirs = (lambda x, v, lib=lib: run(lib, x, v) for lib in (OURS, LAX))
    equal(ours(X, V), theirs(X, V))
    equal(transformed(ours, reverse)(X, V), transformed(theirs, reverse)(X, V))


@pytest.mark.parametrize("case", ["scan", "while", "fori", "cond true", "switch 2", "map"])
def test_without_jit(case: str):
    with jax.disable_jit():
        equal(CASES[case][0](OURS, X, V), CASES[case][0](LAX, X, V))


class Model(Module):
    weight: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    bias: jax.Array | None = None
    flag: bool = True
    name: str = field(static=True, default="cell")

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation(self.weight * x) if self.flag else x


# https://github.com/patrick-kidger/equinox/issues/709
# https://github.com/patrick-kidger/equinox/issues/630
def test_modules_go_through():
    model = Model(V)

    def train(model: Model, x: Any) -> Any:
        y = model(x[0])
        assert model.activation is jnp.tanh and x[1] == "text"
        return Model(model.weight * 0.9 + y, flag=model.flag), (y, model.activation, 1, None)

    def by_hand(w: Any, x: Any) -> Any:
        y = jnp.tanh(w * x)
        return w * 0.9 + y, y

    for wrap in (lambda f: f, ft.filter_jit):
        out, ys = wrap(lambda m, x: ft.filter_scan(train, m, (x, "text")))(model, X)
        weight, y = wrap(lambda w, x: jax.lax.scan(by_hand, w, x))(V, X)
        assert out.activation is jnp.tanh and out.flag is True and out.name == "cell"
        equal((out.weight, ys[0]), (weight, y))
        assert ys[1:] == (jnp.tanh, 1, None)
    final = ft.filter_while_loop(
        lambda m: m.weight[0] < 9, lambda m: Model(m.weight * 2 + 1), Model(V)
    )
    assert final.activation is jnp.tanh and final.weight[0] >= 9
    final = ft.filter_fori_loop(0, 3, lambda i, m: Model(m.weight * 2), model)
    equal(final.weight, V * 8)
    for pred in (True, False):
        out = ft.filter_cond(pred, lambda m: m, lambda m: Model(-m.weight), model)
        equal(out.weight, V if pred else -V)
        assert out.activation is jnp.tanh
    out, name = ft.filter_switch(
        jnp.array(1), [lambda m, s: (m(V), s), lambda m, s: (m.weight, s)], model, "s"
    )
    equal(out, V)
    assert name == "s"
    out = ft.filter_map(lambda m: (m(V), m.activation), Model(X))
    equal(out[0], jnp.tanh(X * V[None]))
    assert out[1] is jnp.tanh
    out = ft.filter_map(lambda m: (m(V), "s"), Model(X), batch_size=4)
    equal(out[0], jnp.tanh(X * V[None]))
    summed = ft.filter_associative_scan(lambda a, b: Model(a.weight + b.weight), Model(X))
    equal(summed.weight, jax.lax.associative_scan(jnp.add, X))
    assert summed.activation is jnp.tanh


def test_modules_as_functions():
    m = Model(V)
    equal(ft.filter_map(m, X), jax.lax.map(lambda x: jnp.tanh(V * x), X))
    equal(ft.filter_switch(1, [jnp.sin, m], V), jnp.tanh(V * V))
    gradient = ft.filter_grad(lambda m: ft.filter_map(m, X).sum())(m)
    expected = jax.grad(lambda w: jax.lax.map(lambda x: jnp.tanh(w * x), X).sum())(V)
    equal(gradient.weight, expected)
    assert gradient.activation is None


def test_gradients_of_modules_through_a_scan():
    def total(model: Model) -> jax.Array:
        return ft.filter_scan(lambda m, x: (m, m(x)), model, X)[1].sum()

    def by_hand(w: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda w, x: (w, jnp.tanh(w * x)), w, X)[1].sum()

    equal(ft.filter_grad(total)(Model(V)).weight, jax.grad(by_hand)(V))
    many = ft.filter_vmap(lambda m: ft.filter_cond(m.weight[0] > 0, abs_of, lambda m: m, m))
    out = many(Model(jnp.stack([V, -V])))
    equal(out.weight, jnp.stack([jnp.abs(V), -V]))
    assert out.activation is jnp.tanh


def abs_of(m: Model) -> Model:
    return Model(jnp.abs(m.weight))


leaves = st.sampled_from(
    [jnp.array(1.0), jnp.arange(3), np.float32(2), V > 0, "text", None, True, 1, 0.5, jnp.tanh, len]
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.builds(Model, inner, activation=inner),
    ),
    max_leaves=6,
)


@given(trees, trees, trees)
def test_any_carry(init: Any, static: Any, y: Any):
    def change(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: (
                (~leaf if leaf.dtype == bool else (leaf + 1).astype(leaf.dtype))
                if ft.is_array(leaf)
                else leaf
            ),
            tree,
        )

    others = ft.filter(static, ft.is_array, inverse=True)
    out, ys = ft.filter_scan(lambda c, x: (change(c), (x[0] * 2, x[1], y)), init, (X, others))
    expected, _ = jax.lax.scan(
        lambda c, x: (change(c), None), ft.filter(init, ft.is_array), None, length=6
    )
    assert jax.tree.structure(out) == jax.tree.structure(init)
    arrays, rest = ft.partition(out, ft.is_array)
    jax.tree.map(np.testing.assert_array_equal, arrays, expected)
    assert jax.tree.leaves(rest) == jax.tree.leaves(ft.filter(init, ft.is_array, inverse=True))
    np.testing.assert_array_equal(ys[0], X * 2)
    assert jax.tree.structure(ys[1]) == jax.tree.structure(others)
    assert jax.tree.structure(ys[2]) == jax.tree.structure(y)
    for stacked, one in zip(jax.tree.leaves(ys[2]), jax.tree.leaves(y), strict=True):
        if ft.is_array(one):
            np.testing.assert_array_equal(stacked, np.stack([one] * 6))
        else:
            assert stacked is one


@given(trees, st.booleans())
def test_any_branches(tree: Any, pred: bool):
    out = ft.filter_cond(pred, lambda t: t, lambda t: t, tree)
    assert jax.tree.structure(out) == jax.tree.structure(tree)
    for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(tree), strict=True):
        assert ft.is_array(a) == ft.is_array(b)
        np.testing.assert_array_equal(a, b)


BAD_CARRIES: list[tuple[Any, Callable[[Any], Any], str]] = [
    ((V, 0), lambda c: (c[0], c[1] + 1), r"At \[1\] it was 0, .* 1\..*`jnp.asarray\(0\)`"),
    ((V, 1), lambda c: (c[0], True), r"At \[1\] it was 1, .* True\..*`jnp.asarray\(1\)`"),
    (0.0, lambda c: c + V[0], r"At <root> it was 0.0.*an array float32\[\].*asarray\(0.0\)"),
    ({"f": len, "x": V}, lambda c: c | {"f": max}, r"At \['f'\].*function len.*function max"),
    ({"f": "a", "x": V}, lambda c: c | {"f": "b"}, r"At \['f'\] it was 'a', .* 'b'"),
    ({"x": V}, lambda c: {"x": "b"}, r"At \['x'\] it was an array float32\[2\], .* 'b'"),
    ({"x": V}, lambda c: {"x": None}, r"At \['x'\] it was an array .*None"),
    ({"x": V}, lambda c: {"y": c["x"]}, r"At <root> it was \{'x'.*\{'y'"),
    ([(V, V)], lambda c: [[V, V]], r"At \[0\] it was \(.*returned \["),
    ([Model(V)], lambda c: [Model(c[0].weight, name="b")], r"At \[0\].name it was 'cell', .* 'b'"),
    (Model(V), lambda c: Model(c.weight, len), r"At activation it was .*tanh"),
]


@pytest.mark.parametrize(("init", "f", "message"), BAD_CARRIES)
def test_a_carry_keeps_what_is_no_array(init: Any, f: Any, message: str):
    with pytest.raises(TypeError, match=f"(?s)`filter_scan`.*carry.*{message}"):
        ft.filter_scan(lambda c, x: (f(c), x), init, X)
    with pytest.raises(TypeError, match=f"(?s)`filter_fori_loop`.*carry.*{message}"):
        ft.filter_fori_loop(0, 3, lambda i, c: f(c), init)
    with pytest.raises(TypeError, match=f"(?s)`filter_while_loop`.*carry.*{message}"):
        ft.filter_while_loop(lambda c: jnp.array(True), f, init)


BAD_BRANCHES: list[tuple[Any, Any, str]] = [
    ((V, "a"), (V, "b"), r"At \[1\], `true_fun` returned 'a', and `false_fun` 'b'"),
    ({"n": 1.0}, {"n": 2.0}, r"At \['n'\], `true_fun` returned 1.0.*2.0.*`jnp.asarray\(1.0\)`"),
    ({"n": 1}, {"n": True}, r"At \['n'\], `true_fun` returned 1, and `false_fun` True"),
    ({"n": V}, {"n": "s"}, r"At \['n'\], `true_fun` returned an array float32\[2\].*'s'"),
    ({"n": V}, {"n": None}, r"same structure. At \['n'\], .*array float32\[2\].*None"),
    ([V], (V,), r"same structure. At <root>"),
    (Model(V), Model(V, name="b"), r"At name, `true_fun` returned 'cell', and `false_fun` 'b'"),
]


@pytest.mark.parametrize(("x", "y", "message"), BAD_BRANCHES)
@pytest.mark.parametrize("wrap", [lambda f: f, ft.filter_jit], ids=["eager", "jit"])
def test_branches_agree_in_what_is_no_array(x: Any, y: Any, message: str, wrap: Any):
    with pytest.raises(TypeError, match=f"(?s)`filter_cond`.*{message}"):
        wrap(lambda p: ft.filter_cond(p, lambda: x, lambda: y))(jnp.array(True))
    message = message.replace("`true_fun`", "branch 0").replace("`false_fun`", "branch 2")
    with pytest.raises(TypeError, match=f"(?s)`filter_switch`.*{message}"):
        wrap(lambda i: ft.filter_switch(i, [lambda: x, lambda: x, lambda: y]))(jnp.array(1))


def test_numbers_beside_arrays_are_as_in_jax():
    def branches(lib: Any, p: Any) -> Any:
        return lib["cond"](p, lambda x: {"a": x[0]}, lambda x: {"a": 2.0}, V)

    for p in (True, False):
        equal(branches(OURS, p), branches(LAX, p))
        out = ft.filter_cond(p, lambda: (1, V[0], "s"), lambda: (1, 2.0, "s"))
        assert out == (1, V[0] if p else 2.0, "s") and isinstance(out[0], int)

    def loop(lib: Any) -> Any:
        return lib["while_loop"](lambda c: ~c["done"], lambda c: {"done": True}, init)

    init = {"done": jnp.array(False)}
    equal(loop(OURS), loop(LAX))
    weak = jnp.asarray(1.0)
    assert weak.weak_type
    equal(
        ft.filter_scan(lambda c, x: (c + x[0], None), weak, X),
        jax.lax.scan(lambda c, x: (c + x[0], None), weak, X),
    )
    out, _ = ft.filter_scan(lambda c, x: ((c[0] + x[0], c[1]), None), (weak, "s"), X)
    assert out[1] == "s" and not out[0].weak_type


def test_errors_of_jax_name_the_place():
    with pytest.raises(TypeError, match=r"carry.weight has type float32\[2\].*float32\[1\]"):
        ft.filter_scan(lambda m, x: (Model(m.weight[:1]), x), Model(V), X)
    with pytest.raises(TypeError, match=r"(?s)cond branches must have equal output types"):
        ft.filter_cond(True, lambda x: x, lambda x: x[:1], V)
    with pytest.raises(TypeError, match="mine"):
        ft.filter_cond(True, lambda x: x, fails, V)
    with pytest.raises(ValueError, match="got no values to scan over"):
        ft.filter_scan(step, carry(V), "text")


def fails(x: Any) -> Any:
    raise TypeError("mine")


def test_other_errors():
    with pytest.raises(TypeError, match=r"must return a pair `\(carry, y\)`, got a list"):
        ft.filter_scan(lambda c, x: [c, x], V, X)
    for name, args in {
        "scan": (1, V, X),
        "while_loop": (1, abs, V),
        "fori_loop": (0, 1, 1, V),
        "cond": (True, 1, abs, V),
        "switch": (0, [1], V),
        "map": (1, X),
        "associative_scan": (1, X),
    }.items():
        with pytest.raises(TypeError, match=f"`filter_{name}` expects a function, got a int"):
            OURS[name](*args)
    for name in ("map", "associative_scan"):
        with pytest.raises(ValueError, match=f"`filter_{name}` found no array"):
            OURS[name](max, [1, 2])
    with pytest.raises(TypeError, match=r"(?s)an element may not change.*\[1\] it was 's'.*'t'"):
        ft.filter_associative_scan(lambda a, b: (a[0] + b[0], "t"), (X, "s"))
    with pytest.raises(TypeError, match="not both"):
        ft.filter_cond(True, abs, abs, V, operand=V)


def test_a_function_is_traced_once():
    traces: list[str] = []

    def body(c: Any, x: Any) -> Any:
        traces.append("scan")
        return c, x

    def one(x: Any) -> Any:
        traces.append("one")
        return x

    for k in range(3):
        ft.filter_scan(body, (V + k, "same"), X)
        ft.filter_map(one, X + k)
        ft.filter_cond(k > 1, one, jnp.sin, V)
    assert traces == ["scan", "one", "one"]
    ft.filter_scan(body, (V, "other"), X)
    assert traces.count("scan") == 2


def test_functions_are_let_go():
    import gc
    import weakref

    def once() -> Any:
        def body(c: Any, x: Any) -> Any:
            return c, x

        ft.filter_scan(body, (V, "s"), X)
        ft.filter_cond(True, lambda x: body(x, x), lambda x: (x, x), V)
        return weakref.ref(body)

    found = once()
    gc.collect()
    assert found() is None
