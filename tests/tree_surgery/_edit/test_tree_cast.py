"""`tree_cast`, against NumPy."""

import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import (
    WhereError,
    tree_cast,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: Any = dc.field(default="linear", metadata={"static": True})


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
