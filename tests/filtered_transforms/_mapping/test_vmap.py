"""`filter_vmap`, against `jax.vmap` on the arrays alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(6.0).reshape(2, 3)
V = jnp.arange(3.0) + 1


def multiply(a: Any, b: Any) -> Any:
    return a * b


# in_axes, arguments, and what `jax.vmap` gives for which in_axes
CASES: list[tuple[Any, tuple[Any, ...], Any]] = [
    (ft.if_array(0), (X, X), 0),
    (0, (X, X), 0),
    (1, (X, X), 1),
    (-1, (X, X), -1),
    ((0, None), (X, V), (0, None)),
    ((None, ft.if_array(0)), (V, X), (None, 0)),
    ({"b": None}, (X, V), (0, None)),
    ({"a": None}, (V, X), (None, 0)),
    (lambda leaf: 1 if leaf.ndim == 2 else None, (X, X[:, 0]), (1, None)),
    (ft.if_array(0), (np.asarray(X), X), 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]).split(" at ")[0])
@pytest.mark.parametrize("jitted", [False, True])
def test_in_axes(case: Any, jitted: bool):
    in_axes, args, theirs = case
    f = ft.filter_vmap(multiply, in_axes=in_axes)
    out = (ft.filter_jit(f) if jitted else f)(*args)
    np.testing.assert_array_equal(out, jax.vmap(multiply, in_axes=theirs)(*args))


@given(st.data())
def test_axes_of_trees(data: st.DataObject):
    def shape(axis: int | None) -> tuple[int, ...]:
        inner = (2, 3)
        if axis is None:
            return inner
        at = axis % 3
        return (*inner[:at], 4, *inner[at:])

    axis = st.one_of(st.none(), st.integers(-3, 2))
    axes = {"x": data.draw(axis), "y": data.draw(axis), "z": data.draw(st.integers(-3, 2))}
    tree = {name: jnp.arange(np.prod(shape(a))).reshape(shape(a)) for name, a in axes.items()}
    out_axis = data.draw(st.integers(-3, 2))

    def f(tree: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"sum": tree["x"] + tree["y"] * tree["z"], "x": tree["x"]}

    ours = ft.filter_vmap(f, in_axes=(axes,), out_axes={"sum": out_axis, "x": 0})(tree)
    theirs = jax.vmap(f, in_axes=(axes,), out_axes={"sum": out_axis, "x": 0})(tree)
    np.testing.assert_array_equal(ours["sum"], theirs["sum"])
    np.testing.assert_array_equal(ours["x"], theirs["x"])


# https://github.com/patrick-kidger/equinox/issues/115
def test_results_that_are_no_arrays():
    f = ft.filter_vmap(lambda a, s: (a * 2, s, 1, None, len))
    out = f(X, "text")
    np.testing.assert_array_equal(out[0], 2 * X)
    assert out[1:] == ("text", 1, None, len)
    assert ft.filter_jit(f)(X, "text")[1:] == ("text", 1, None, len)


@pytest.mark.parametrize("out_axes", [0, 1, -1, (0, 1), ft.if_array(1), (ft.if_array(1), None)])
def test_out_axes(out_axes: Any):
    theirs = {repr(ft.if_array(1)): 1}.get(repr(out_axes), out_axes)
    if theirs == (ft.if_array(1), None):
        f, theirs = (lambda a: (a, V)), (1, None)
    else:

        def f(a: jax.Array) -> Any:
            return a, 2 * a

    for x, y in zip(
        ft.filter_vmap(f, out_axes=out_axes)(X), jax.vmap(f, out_axes=theirs)(X), strict=True
    ):
        np.testing.assert_array_equal(x, y)


def test_out_axes_by_function_sees_each_result():
    seen: list[Any] = []
    out = ft.filter_vmap(
        lambda a: (a, "s"), out_axes=lambda leaf: seen.append(leaf) or ft.if_array(1)(leaf)
    )(X)
    np.testing.assert_array_equal(out[0], X.T)
    assert seen[0].shape == (3,) and seen[1] == "s" == out[1]


def test_results_that_are_not_mapped_are_repeated():
    np.testing.assert_array_equal(ft.filter_vmap(lambda a: V)(X), jnp.stack([V, V]))
    np.testing.assert_array_equal(ft.filter_vmap(lambda a: np.ones(1))(X), np.ones((2, 1)))
    np.testing.assert_array_equal(ft.filter_vmap(lambda a: V, out_axes=None)(X), V)


def test_axis_name_and_size():
    f = ft.filter_vmap(lambda a: jax.lax.psum(a, "i"), axis_name="i")
    np.testing.assert_array_equal(f(X), jnp.stack([X.sum(0)] * 2))
    g = ft.filter_vmap(lambda: V, axis_size=3)
    np.testing.assert_array_equal(g(), jnp.stack([V] * 3))
    np.testing.assert_array_equal(
        ft.filter_vmap(multiply, in_axes=None, axis_size=2)(V, V), jnp.stack([V * V] * 2)
    )


def test_nothing_mapped():
    assert ft.filter_vmap(lambda a: a)(1) == 1
    assert ft.filter_vmap(lambda a: (a, "s"), axis_size=3)(1) == (1, "s")
    with pytest.raises(ValueError, match="Cannot resolve batch dimension"):
        ft.filter_vmap(multiply, in_axes=None)(V, V)


class Linear(Module):
    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x

    @ft.filter_vmap(in_axes=(None, 0))
    def many(self, x: jax.Array) -> jax.Array:
        return self.weight @ x


def test_modules_and_methods():
    w = jnp.arange(6.0).reshape(2, 3)
    expected = jax.vmap(lambda x: w @ x)(X)
    np.testing.assert_array_equal(ft.filter_vmap(Linear(w))(X), expected)
    np.testing.assert_array_equal(ft.filter_vmap(Linear(w).__call__)(X), expected)
    np.testing.assert_array_equal(Linear(w).many(X), expected)
    ensemble = ft.filter_vmap(Linear)(jnp.stack([w, 2 * w]))
    assert isinstance(ensemble, Linear) and ensemble.weight.shape == (2, 2, 3)
    out = ft.filter_vmap(lambda model, x: model(x), in_axes=(ft.if_array(0), None))(ensemble, V)
    np.testing.assert_array_equal(out, jnp.stack([w @ V, 2 * w @ V]))


def test_gradient_through_vmap():
    def f(x: jax.Array) -> jax.Array:
        return ft.filter_vmap(lambda a: (a**2).sum())(x).sum()

    np.testing.assert_array_equal(ft.filter_grad(f)(X), 2 * X)


# https://github.com/patrick-kidger/equinox/issues/952
def test_one_argument_needs_a_tuple_and_the_error_says_so():
    tree = {"a": X, "b": V}
    np.testing.assert_array_equal(
        ft.filter_vmap(lambda t: t["a"] * t["b"], in_axes=({"a": 0, "b": None},))(tree), X * V[None]
    )
    with pytest.raises(ValueError, match="tuple of the positional arguments"):
        ft.filter_vmap(lambda t: t["a"], in_axes=[0])(tree)


def test_errors():
    with pytest.raises(RuntimeError, match="keyword arguments cannot be used.*b"):
        ft.filter_vmap(multiply)(X, b=X)
    with pytest.raises(ValueError, match=r"did not correspond to any argument: \('q',\)"):
        ft.filter_vmap(multiply, in_axes={"q": 0})(X, X)
    with pytest.raises(ValueError, match=r"None, ints, and callables only.*'x'"):
        ft.filter_vmap(multiply, in_axes=("x", 0))(X, X)
    with pytest.raises(ValueError, match="`in_axes` does not fit"):
        ft.filter_vmap(multiply, in_axes=(0,))(X, X)
    with pytest.raises(ValueError, match="`out_axes` does not fit"):
        ft.filter_vmap(lambda a: (a, a), out_axes=(0,))(X)
    with pytest.raises(ValueError, match="inconsistent sizes"):
        ft.filter_vmap(multiply)(X, X[:1])
    with pytest.raises(ValueError, match="rank should be at least 1"):
        ft.filter_vmap(multiply)(X, jnp.array(1.0))
    with pytest.raises(ValueError, match="batched"):
        ft.filter_vmap(lambda a: a, out_axes=None)(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        ft.filter_vmap(multiply, foo=1)(X, X)


def test_an_axis_specification_is_a_leaf():
    # flowjax maps functions over trees of axes.
    assert jax.tree.leaves({"a": ft.if_array(0), "b": 1}) == [ft.if_array(0), 1]
    assert ft.if_array(1) != ft.if_array(0) and hash(ft.if_array(1)) == hash(ft.if_array(1))
    assert repr(ft.if_array(0)) == "if_array(axis=0)"
