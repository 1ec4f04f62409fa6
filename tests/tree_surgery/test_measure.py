"""`tree_cast`, `tree_size`, `tree_stack`, `tree_unstack` and `tree_diff`, against NumPy."""

import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tree_surgery import (
    WhereError,
    freeze,
    tree_at,
    tree_cast,
    tree_diff,
    tree_equal,
    tree_set,
    tree_size,
    tree_stack,
    tree_unstack,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: Any = dc.field(default="linear", metadata={"static": True})


class Opaque:
    """A custom node whose static part is no field."""

    def __init__(self, child, aux):
        self.child, self.aux = child, aux


jtu.register_pytree_node(Opaque, lambda x: ([x.child], x.aux), lambda aux, xs: Opaque(*xs, aux))


def everything():
    return {
        "f32": jnp.linspace(0, 1, 6).reshape(2, 3),
        "bf16": jnp.ones(4, jnp.bfloat16),
        "c64": jnp.full((2,), 1 + 2j, jnp.complex64),
        "i32": jnp.arange(3),
        "u8": jnp.arange(3, dtype=jnp.uint8),
        "bool": jnp.array([True, False]),
        "key": jax.random.key(0),
        "numpy": np.linspace(0, 1, 3),
        "scalar": np.float32(0.1),
        "struct": jax.ShapeDtypeStruct((5,), jnp.float32),
        "empty": jnp.zeros((0, 3)),
        "float": 0.5,
        "int": 3,
        "act": jax.nn.relu,
        "none": None,
    }


# --- cast ------------------------------------------------------------------------------------


def dtypes(tree):
    return {name: x.dtype for name, x in tree.items() if hasattr(x, "dtype")}


@pytest.mark.parametrize(
    ("dtype", "cast"),
    [
        (jnp.bfloat16, {"f32", "bf16", "numpy", "scalar", "struct", "empty"}),
        ("float16", {"f32", "bf16", "numpy", "scalar", "struct", "empty"}),
        (jnp.int8, {"i32", "u8"}),
        (jnp.complex64, {"c64"}),
        (bool, {"bool"}),
    ],
)
def test_cast(dtype, cast):
    tree = everything()
    new = tree_cast(tree, dtype)
    before, after = dtypes(tree), dtypes(new)
    assert after == {n: jnp.dtype(dtype) if n in cast else d for n, d in before.items()}
    for name, x in tree.items():
        if name not in cast:
            assert new[name] is x
        elif name != "struct":
            assert type(new[name]) is type(x) or name == "scalar"
            np.testing.assert_array_equal(new[name], np.asarray(x).astype(dtype))
    assert new["struct"].shape == (5,)


def test_cast_where():
    tree = [Linear(jnp.ones(2), jnp.ones(2)), Linear(jnp.ones(2), None)]
    new = tree_cast(tree, jnp.float16, "**.weight")
    assert [x.dtype for x in jax.tree.leaves(new)] == [jnp.float16, jnp.float32, jnp.float16]
    assert tree_cast(tree, jnp.float16, "[1]")[0].weight.dtype == jnp.float32
    with pytest.raises(WhereError, match="matches nothing"):
        tree_cast(tree, jnp.float16, "[2]")


def test_cast_is_differentiable():
    gradient = jax.grad(lambda t: tree_cast(t, jnp.float16)["w"].sum().astype("float32"))
    assert gradient({"w": jnp.ones(3)})["w"].tolist() == [1, 1, 1]


def test_cast_wrongly():
    with pytest.raises(ValueError, match="neither"):
        tree_cast(everything(), jax.random.key(0).dtype)
    with pytest.raises(ValueError, match="jax_enable_x64"):
        tree_cast([jnp.ones(2)], np.float64)
    assert tree_cast([np.ones(2, "float32")], np.float64)[0].dtype == np.float64


# --- size ------------------------------------------------------------------------------------


def test_size():
    size = tree_size(everything())
    assert size.parameters == 6 + 4 + 2 + 3 + 1 + 5
    assert size.bytes == 24 + 8 + 16 + 12 + 3 + 2 + 8 + 24 + 4 + 20
    assert size.per_device == {jax.devices()[0]: 24 + 8 + 16 + 12 + 3 + 2 + 8}
    assert tree_size([1, "x", None]) == (0, 0, {})
    shared = jnp.ones(3)
    assert tree_size([shared, shared, jnp.ones(3)]).parameters == 6


def test_size_per_device():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    named, spec = jax.sharding.NamedSharding, jax.sharding.PartitionSpec
    split = jax.device_put(jnp.ones((4, 3)), named(mesh, spec("x")))
    copied = jax.device_put(jnp.ones(5), named(mesh, spec()))
    one, two = jax.devices()[:2]
    size = tree_size([split, copied])
    assert size.per_device == {one: 24 + 20, two: 24 + 20} and size.bytes == 48 + 20
    struct = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=split.sharding)
    assert tree_size(struct).per_device == {one: 24, two: 24}
    on_two = jax.device_put(jnp.ones(5), two)
    assert tree_size(on_two).per_device == {two: 20}


def test_size_under_jit():
    sizes = []
    jax.jit(lambda tree: sizes.append(tree_size(tree)))({"a": jnp.ones(3), "b": jnp.arange(2)})
    assert sizes == [(3, 20, {})]


# --- stack -----------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@given(st.lists(SHAPES, min_size=1, max_size=3), st.integers(1, 3), st.booleans(), st.data())
def test_stack_and_unstack(shapes, count, jaxed, data):
    axis = data.draw(st.integers(0, min(map(len, shapes))))
    rng = np.random.default_rng(0)
    wrap = jnp.asarray if jaxed else np.asarray

    def tree():
        arrays = [wrap(rng.normal(size=shape).astype("float32")) for shape in shapes]
        return {"layers": arrays, "act": jax.nn.relu, "n": 3}

    trees = [tree() for _ in range(count)]
    stacked = tree_stack(trees, axis)
    for place, x in enumerate(stacked["layers"]):
        expected = np.stack([t["layers"][place] for t in trees], axis)
        np.testing.assert_array_equal(x, expected)
        assert isinstance(x, jax.Array) == jaxed
    assert stacked["act"] is jax.nn.relu and stacked["n"] == 3
    again = tree_unstack(stacked, axis)
    assert len(again) == count
    assert all(tree_equal(a, b, typematch=True) for a, b in zip(again, trees, strict=True))


def test_stack_of_keys_structs_and_dtypes():
    def tree(i):
        return {
            "key": jax.random.key(i),
            "struct": jax.ShapeDtypeStruct((2, 3), jnp.float16),
            "bf16": jnp.full(2, i, jnp.bfloat16),
            "none": None,
        }

    trees = [tree(i) for i in range(3)]
    stacked = tree_stack(trees, -1)
    assert stacked["key"].shape == (3,) and stacked["bf16"].shape == (2, 3)
    assert stacked["struct"] == jax.ShapeDtypeStruct((2, 3, 3), jnp.float16)
    again = tree_unstack({"struct": stacked["struct"]}, -1)
    assert again == [{"struct": trees[0]["struct"]}] * 3
    assert tree_equal(
        jax.random.key_data(tree_unstack({"key": stacked["key"]}, -1)[2]["key"]),
        jax.random.key_data(trees[2]["key"]),
    )


@pytest.mark.parametrize("trees", [{"a": np.ones(2)}, np.ones((2, 2)), (x for x in [1]), 3])
def test_what_is_no_list_of_trees(trees):
    with pytest.raises(TypeError, match=f"a list or a tuple of trees.*`{type(trees).__name__}`"):
        tree_stack(trees)


def test_numbers_are_to_be_arrays_to_be_stacked():
    with pytest.raises(ValueError, match="To stack numbers, make them arrays first"):
        tree_stack([{"rate": 0.5}, {"rate": 0.25}])


def test_scan_over_stacked_layers():
    layers = [Linear(jnp.full((2, 2), i + 1.0), jnp.ones(2)) for i in range(3)]
    x = jnp.arange(2.0)
    expected = x
    for layer in layers:
        expected = layer.weight @ expected + layer.bias
    found, _ = jax.lax.scan(lambda x, m: (m.weight @ x + m.bias, None), x, tree_stack(layers))
    np.testing.assert_allclose(found, expected)
    total = jax.jit(lambda layers: tree_stack(layers).weight.sum())(layers)
    assert total == 4 * (1 + 2 + 3)


@pytest.mark.parametrize(
    ("trees", "said"),
    [
        ([], "at least one tree"),
        ([[1.0], [1.0, 2.0]], r"number 1 differs from the first:\n.*\[1\]"),
        ([Linear(1, 2, "a"), Linear(1, 2, "b")], r"~ name  'a' -> 'b'"),
        (
            [{"a": jnp.ones(2)}, {"a": jnp.ones(3)}],
            r"`\['a'\]`: it is an array of shape \(2,\) .* \(3,\)",
        ),
        ([{"a": jnp.ones(2)}, {"a": jnp.arange(2)}], "dtype float32 in .* dtype int32 in number 1"),
        ([{"a": 1}, {"a": 1}, {"a": 2}], "`1` of type `int` in the first tree and `2` .* number 2"),
        ([{"a": 1}, {"a": 1.0}], "type `float`"),
    ],
)
def test_trees_that_cannot_be_stacked(trees, said):
    with pytest.raises(ValueError, match=f"(?s){said}"):
        tree_stack(trees)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": 1}, "needs a tree with an array"),
        ({"a": jnp.ones(()), "b": jnp.ones(2)}, r"`\['a'\]` apart along axis 0: it has shape \(\)"),
        ({"a": jnp.ones(3), "b": jnp.ones(2)}, r"`\['a'\]` has shape \(3,\) and `\['b'\]` has"),
    ],
)
def test_trees_that_cannot_be_unstacked(tree, said):
    with pytest.raises(ValueError, match=said):
        tree_unstack(tree)


# --- diff ------------------------------------------------------------------------------------


def paths(changes):
    return [change.path for change in changes]


def test_no_difference():
    tree = everything()
    diff = tree_diff(tree, everything())
    assert not diff and len(diff) == 0 and str(diff) == "No difference."
    nan = {"a": np.array([np.nan, np.inf, -np.inf, 1], "float32"), "b": float("nan")}
    assert not tree_diff(nan, {"a": jnp.asarray(nan["a"]), "b": float("nan")})


def test_diff_of_a_model():
    old = {"layers": [Linear(jnp.ones((2, 3)), jnp.ones(2)), Linear(jnp.ones(2), None)], "n": 3}
    new = {
        "layers": [
            Linear(jnp.ones((2, 3)).at[1, 2].set(0.25), jnp.ones(3), "first"),
            Linear(jnp.ones(2), jnp.ones(2)),
            7,
        ],
        "k": 3,
    }
    diff = tree_diff(old, new)
    assert diff and len(diff) == 7
    assert paths(diff.removed) == ["['n']"]
    assert paths(diff.added) == ["['layers'][1].bias", "['layers'][2]", "['k']"]
    assert paths(diff.changed) == [f"['layers'][0].{x}" for x in ("weight", "bias", "name")]
    weight, bias, name = diff.changed
    assert (weight.difference, weight.elements, weight.size) == (0.75, 1, 6)
    assert (bias.before, bias.after, bias.difference) == ("f32[2]", "f32[3]", None)
    assert (name.before, name.after) == ("'linear'", "'first'")
    back = tree_diff(new, old)
    assert paths(back.added) == paths(diff.removed)
    assert sorted(paths(back.removed)) == sorted(paths(diff.added))


ARRAYS = st.sampled_from([[1.0, 2.0], [1.0, 2.5], [np.nan, 2.0], [np.inf, 2.0], [-np.inf, 2.0]])
DTYPES = st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64])


@given(ARRAYS, ARRAYS, DTYPES)
def test_largest_difference(x, y, dtype):
    a, b = jnp.array(x, dtype), jnp.array(y, dtype)
    diff = tree_diff([a], [b])
    wide_a, wide_b = np.asarray(a).astype(complex), np.asarray(b).astype(complex)
    differs = ~((wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b)))
    assert bool(diff) == bool(differs.any())
    if diff:
        (change,) = diff.changed
        with np.errstate(invalid="ignore"):
            expected = np.abs(wide_a - wide_b)[differs].max()
        np.testing.assert_equal(change.difference, expected)
        assert change.elements == differs.sum()


@pytest.mark.parametrize(
    ("a", "b", "before", "after", "difference"),
    [
        (1, 3, "1", "3", 2.0),
        (1, 1.0, "1", "1.0", 0.0),
        (True, False, "True", "False", 1.0),
        ("a", "b", "'a'", "'b'", None),
        (jnp.arange(3), jnp.arange(3.0), "i32[3]", "f32[3]", 0.0),
        (jnp.ones(2), 1.0, "f32[2]", "1.0", None),
        (jnp.ones(2), np.zeros(2, "float32"), "f32[2]", "f32[2](numpy)", 1.0),
        (np.uint64(2**64 - 1), np.uint64(2**64 - 2), None, None, 0.0),  # no double between them
        (np.array([True]), np.array([False]), "bool[1](numpy)", "bool[1](numpy)", 1.0),
        (jax.random.key(0), jax.random.key(1), "key<fry>[]", "key<fry>[]", None),
        (jax.random.key(0), jax.random.key(0, impl="rbg"), "key<fry>[]", "key<rbg>[]", None),
        (jax.ShapeDtypeStruct((2,), "float32"), jnp.ones(3), "f32[2]", "f32[3]", None),
        ([1, 2], (1, 2), "[1, 2]", "(1, 2)", None),
        ([1, 2], 3, "[1, 2]", "3", None),
        (jax.nn.relu, jax.nn.gelu, None, None, None),
        (Opaque(1, "x"), Opaque(1, "y"), "`Opaque`", "`Opaque` with other static parts", None),
        (Linear(1, 2, [3]), Linear(1, 2, [4]), "3", "4", 1.0),
    ],
)
def test_one_change(a, b, before, after, difference):
    diff = tree_diff({"x": a}, {"x": b})
    (change,) = diff.changed
    assert change.path.startswith("['x']")
    assert before is None or (change.before, change.after) == (before, after)
    assert change.difference == difference
    assert len(str(diff).splitlines()) == 2


def test_diff_of_structs_by_shape():
    assert not tree_diff(jax.ShapeDtypeStruct((2,), jnp.float32), jnp.ones(2))


def test_diff_of_long_things_is_short():
    text = str(tree_diff({"a": "x" * 500}, {"a": list(range(500))}))
    assert max(map(len, text.splitlines())) < 150


def test_diff_under_jit():
    with pytest.raises(ValueError, match=r"`\['a'\]` is being traced"):
        jax.jit(lambda x: len(tree_diff({"a": x}, {"a": 2 * x})))(jnp.ones(2))


def test_diff_finds_what_was_edited():
    tree = everything()
    assert paths(tree_diff(tree, tree_set(tree, "i32", jnp.arange(1, 4))).changed) == ["['i32']"]
    assert paths(tree_diff(tree, tree_at(lambda t: t["none"], tree, 1)).added) == ["['none']"]
    assert paths(tree_diff(tree, freeze(tree, "f32")).changed) == ["['f32']"]
