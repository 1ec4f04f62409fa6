"""`filter_jit` traces arrays; everything else is static, on the way in and out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0)


class Counter:
    """Counts the traces of the functions that call it."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> None:
        self.n += 1


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


TRACED = {
    "jax": X,
    "numpy": np.ones(2),
    "numpy scalar": np.float32(2),
    "bool": jnp.array(True),
    "key": jax.random.key(0),
}
STATIC = {
    "int": 1,
    "float": 1.0,
    "bool": True,
    "complex": 1j,
    "None": None,
    "str": "a",
    "function": len,
    "shape": jax.ShapeDtypeStruct((2,), jnp.float32),
}


@ft.filter_jit
def identity(x: Any) -> Any:
    return x, isinstance(x, jax.core.Tracer)


@pytest.mark.parametrize("name", TRACED)
def test_arrays_are_traced(name: str):
    out, traced = identity(TRACED[name])
    assert traced and isinstance(out, jax.Array)
    assert out.dtype == jnp.asarray(TRACED[name]).dtype and bool((out == TRACED[name]).all())


@pytest.mark.parametrize("name", STATIC)
def test_everything_else_is_static(name: str):
    out, traced = identity(STATIC[name])
    assert out is STATIC[name] and not traced


def test_static_values_that_are_equal_but_not_the_same():
    # 1 == 1.0 == True and 0.0 == -0.0: each compiles for itself, and comes back as it went in.
    for x in (1, 1.0, True, 0, 0.0, -0.0, False, complex(1, 0.0), complex(1, -0.0)):
        out, _ = identity(x)
        assert repr(out) == repr(x)


def test_nan_is_one_static_value():
    count = Counter()

    @ft.filter_jit
    def f(x: float) -> float:
        count()
        return x

    f(float("nan")), f(float("nan")), f(1.0), f(1.0)
    assert count.n == 2


scalars = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=2),
    st.none(),
    st.sampled_from([len, jnp.tanh, X, np.ones(2), np.float32(1.5)]),
)
trees = st.recursive(
    scalars,
    lambda t: st.one_of(
        st.lists(t, max_size=3), st.dictionaries(st.text(max_size=1), t), st.builds(Scale, t, t)
    ),
    max_leaves=6,
)


@given(trees)
def test_any_mixture_goes_through_unchanged(tree: Any):
    out = ft.filter_jit(lambda x: x)(tree)
    leaves, treedef = jax.tree.flatten(tree)
    out_leaves, out_treedef = jax.tree.flatten(out)
    assert treedef == out_treedef
    for x, y in zip(leaves, out_leaves, strict=True):
        if ft.is_array(x):
            np.testing.assert_array_equal(x, y)
        else:
            assert type(x) is type(y) and (x is y or repr(x) == repr(y))


def test_outputs_may_be_anything():
    out = ft.filter_jit(lambda x: (x, {"a": [np.ones(2), 1, "s"]}, None, {1, 2}, jnp.float32))(X)
    assert out[1]["a"][1:] == [1, "s"] and out[2] is None and out[3] == {1, 2}
    assert isinstance(out[1]["a"][0], jax.Array) and out[4] is jnp.float32


class Uncomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = object.__hash__


@pytest.mark.parametrize("value", [Uncomparable(), {1: 2}.keys(), [].append])
def test_outputs_are_never_compared(value: Any):
    f = ft.filter_jit(lambda x: (x, value))
    assert f(X)[1] is value and f(jnp.ones(2))[1] is value
    assert ft.filter_jit(lambda x: f(x))(X)[1] is value


def test_static_output_belongs_to_its_own_shape():
    f = ft.filter_jit(lambda x: x.shape)
    assert [f(jnp.ones(n)) for n in (1, 2, 1, 2)] == [(1,), (2,), (1,), (2,)]
