"""`tree_diff`, against NumPy."""

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
    freeze,
    tree_at,
    tree_cast,
    tree_diff,
    tree_set,
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


def test_cast_is_differentiable():
    gradient = jax.grad(lambda t: tree_cast(t, jnp.float16)["w"].sum().astype("float32"))
    assert gradient({"w": jnp.ones(3)})["w"].tolist() == [1, 1, 1]


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
