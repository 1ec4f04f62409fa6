"""`tree_stack` and `tree_unstack`, against NumPy."""

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
    tree_equal,
    tree_stack,
    tree_unstack,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: Any = dc.field(default="linear", metadata={"static": True})


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
