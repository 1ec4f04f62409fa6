"""Functions evaluated for their shapes alone, and functions traced once for several calls."""

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtered_transforms import extend
from pytree_module import Module

X = jnp.array([1.0, 4.0, 2.0])


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shapes_are_evaluated_once():
    seen: list[Any] = []

    def f(x: Any, n: int, *, flag: bool) -> Any:
        seen.append((x.shape, n))
        return {"y": jnp.zeros((n, *x.shape)), "flag": flag}

    for x in (X, X + 1, jax.ShapeDtypeStruct((3,), jnp.float32)):
        out = extend.cached_filter_eval_shape(f, x, 2, flag=True)
        assert out == {"y": jax.ShapeDtypeStruct((2, 3), jnp.float32), "flag": True}
    assert len(seen) == 1
    extend.cached_filter_eval_shape(f, X, 3, flag=True)
    extend.cached_filter_eval_shape(f, X[:2], 3, flag=True)
    assert len(seen) == 3
    unhashable = extend.cached_filter_eval_shape(lambda x, s: x, X, {1})
    assert unhashable == jax.ShapeDtypeStruct((3,), jnp.float32)
    with pytest.raises(TypeError, match="unhashable"):
        extend.cached_filter_eval_shape(lambda x: {[]: x}, X)


def test_an_error_of_the_function_is_its_own():
    # Whatever its text says: it is not the arguments that have no hash.
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        raise TypeError("unhashable type: 'dict'")

    with pytest.raises(TypeError, match="unhashable type: 'dict'"):
        extend.cached_filter_eval_shape(f, jnp.ones(3))
    assert len(calls) == 1
    for _ in range(2):  # these have none
        shape = extend.cached_filter_eval_shape(lambda x, _: x, jnp.ones(3), {1, 2}).shape
        assert shape == (3,)


def test_values_that_mean_nothing():
    def never(x: Any) -> Any:
        return {"y": x * jnp.nan, "n": jnp.arange(2), "name": "s", "b": x > 0}

    zeros = extend.eval_zero(never, X)
    assert zeros["name"] == "s"
    equal((zeros["y"], zeros["n"], zeros["b"]), (jnp.zeros(3), jnp.zeros(2, int), X < 0))
    empty = extend.eval_empty(lambda: never(X))
    assert jax.tree.map(lambda x: getattr(x, "dtype", None), empty) == jax.tree.map(
        lambda x: getattr(x, "dtype", None), zeros
    )


@given(st.integers(0, 4))
def test_the_scan_trick_is_composition(count: int):
    def f(carry: Any) -> Any:
        x, n = carry
        return jnp.sin(x) * 2, n + 1

    between = [lambda c, i=i: (c[0] + i, c[1] * 2) for i in range(count)]
    expected = f((X, jnp.array(1)))
    for g in between:
        expected = f(g(expected))
    out = extend.scan_trick(f, between, (X, jnp.array(1)))
    np.testing.assert_allclose(out[0], expected[0], rtol=1e-6)
    assert out[1] == expected[1]


def test_the_scan_trick_traces_once_and_has_derivatives():
    traced: list[int] = []

    def f(x: Any) -> Any:
        traced.append(1)
        return jnp.sin(x)

    def run(x: Any) -> Any:
        return extend.scan_trick(f, [lambda x: x * 2, lambda x: x + 1], x).sum()

    jax.jit(run)(X)
    assert len(traced) == 1
    by_hand = jax.grad(lambda x: jnp.sin(jnp.sin(jnp.sin(x) * 2) + 1).sum())(X)
    np.testing.assert_allclose(jax.grad(run)(X), by_hand, rtol=1e-5)


def test_functions_are_let_go():
    alive: list[Any] = []
    for n in range(3):

        def f(x: Any, n: int = n) -> Any:
            return {"y": x + n}

        assert extend.cached_filter_eval_shape(f, X)["y"].shape == (3,)
        alive.append(weakref.ref(f))
    del f
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []


def test_equal_callable_trees_share_a_trace():
    traced: list[int] = []

    class Scale(Module):
        factor: int

        def __call__(self, x: Any) -> Any:
            traced.append(1)
            return self.factor * x

    for _ in range(2):
        assert extend.cached_filter_eval_shape(Scale(2), X).shape == (3,)
    assert len(traced) == 1
    extend.cached_filter_eval_shape(Scale(3), X)
    assert len(traced) == 2
