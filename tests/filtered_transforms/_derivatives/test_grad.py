"""`filter_grad` and `filter_value_and_grad`, against `jax.value_and_grad` on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module
from tree_surgery import WhereError, freeze, trainable, where

X = jnp.linspace(0.5, 2.0, 3)
W = jnp.arange(6.0).reshape(2, 3) / 7


class Linear(Module):
    weight: jax.Array
    bias: jax.Array
    activation: Callable[[jax.Array], jax.Array]
    name: str
    steps: jax.Array
    rate: float = 2.0

    def loss(self, x: jax.Array) -> jax.Array:
        return (self.activation(self.weight @ x + self.bias) * self.rate).sum()


LINEAR = Linear(W, jnp.ones(2), jnp.tanh, "linear", jnp.array(3))


def loss(model: Linear, x: jax.Array) -> jax.Array:
    return model.loss(x)


def by_hand(params: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    return (jnp.tanh(params[0] @ x + params[1]) * 2.0).sum()


TRANSFORMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "eager": (lambda f: f, lambda f: f),
    "jit": (ft.filter_jit, jax.jit),
    "vmap": (
        lambda f: ft.filter_vmap(f, in_axes=(None, 0)),
        lambda f: jax.vmap(f, in_axes=(None, 0)),
    ),
    "jit vmap": (
        lambda f: ft.filter_jit(ft.filter_vmap(f, in_axes=(None, 0))),
        lambda f: jax.jit(jax.vmap(f, in_axes=(None, 0))),
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_equals_jax_bit_for_bit(name: str):
    ours, theirs = TRANSFORMS[name]
    x = jnp.stack([X, 2 * X]) if "vmap" in name else X
    value, (weight, bias) = theirs(jax.value_and_grad(by_hand))((W, jnp.ones(2)), x)
    our_value, gradient = ours(ft.filter_value_and_grad(loss))(LINEAR, x)
    np.testing.assert_array_equal(our_value, value)
    np.testing.assert_array_equal(gradient.weight, weight)
    np.testing.assert_array_equal(gradient.bias, bias)
    only = ours(ft.filter_grad(loss))(LINEAR, x)
    np.testing.assert_array_equal(only.weight, weight)


def test_finite_differences():
    gradient = ft.filter_grad(loss)(LINEAR, X).weight
    for i, j in np.ndindex(W.shape):
        step = jnp.zeros_like(W).at[i, j].set(1e-2)
        change = by_hand((W + step, jnp.ones(2)), X) - by_hand((W - step, jnp.ones(2)), X)
        np.testing.assert_allclose(gradient[i, j], change / 2e-2, rtol=1e-2, atol=1e-3)


def test_none_where_there_is_no_gradient():
    gradient = ft.filter_grad(loss)(LINEAR, X)
    assert gradient.activation is gradient.name is gradient.steps is gradient.rate is None
    tree = [X, 1, 2.0, "a", jnp.arange(3), np.ones(2), None, np.float32(1)]
    gradient = ft.filter_grad(lambda t: (t[0] ** 2).sum())(tree)
    assert gradient[1:5] == [None] * 4 and gradient[6] is None
    np.testing.assert_array_equal(gradient[0], 2 * X)
    assert isinstance(gradient[5], jax.Array) and gradient[7] == 0


def test_aux_may_be_anything():
    def f(x: jax.Array) -> Any:
        return (x**2).sum(), ("text", x, {"n": 1}, len)

    gradient, aux = ft.filter_grad(f, has_aux=True)(X)
    np.testing.assert_array_equal(gradient, 2 * X)
    assert aux[0] == "text" and aux[2:] == ({"n": 1}, len)
    np.testing.assert_array_equal(aux[1], X)
    (value, aux), gradient = ft.filter_jit(ft.filter_value_and_grad(has_aux=True)(f))(X)
    np.testing.assert_array_equal(value, (X**2).sum())
    assert aux[0] == "text" and aux[2:] == ({"n": 1}, len)


def test_methods_closures_and_higher_orders():
    class M(Module):
        w: jax.Array

        @ft.filter_grad
        def of_self(self, x: jax.Array) -> jax.Array:
            return (self.w * x).sum()

        def value(self, x: jax.Array) -> jax.Array:
            return (self.w * x**2).sum()

    np.testing.assert_array_equal(M(W[0]).of_self(X).w, X)
    np.testing.assert_array_equal(ft.filter_grad(M(X).value)(X), 2 * X * X)
    outer = ft.filter_grad(lambda q: ft.filter_grad(lambda x: (q * x**2).sum())(X).sum())
    np.testing.assert_array_equal(outer(X), 2 * X)


def test_options_of_jax():
    z = X.astype(jnp.complex64)
    holomorphic = ft.filter_grad(lambda z: (z * z).sum(), holomorphic=True)(z)
    np.testing.assert_array_equal(
        holomorphic, jax.grad(lambda z: (z * z).sum(), holomorphic=True)(z)
    )
    assert ft.filter_value_and_grad(lambda x: 1.0)(X)[0] == 1.0


class Pair(Module):
    one: Any
    two: Any

    def loss(self, x: jax.Array) -> jax.Array:
        return self.one.loss(x) * self.two.loss(2 * x)


PAIR = Pair(LINEAR, Linear(2 * W, jnp.zeros(2), jnp.sin, "other", jnp.array(4)))
ALL = ("one.weight", "one.bias", "two.weight", "two.bias")

# What is given as `wrt`, and what it selects of the inexact arrays.
WRT: dict[str, tuple[Any, tuple[str, ...]]] = {
    "nothing said": (None, ALL),
    "all": (True, ALL),
    "predicate": (lambda x: getattr(x, "ndim", 0) == 2, ("one.weight", "two.weight")),
    "prefix": (Pair(True, False), ("one.weight", "one.bias")),
    "mask": (trainable(PAIR), ALL),
    "mask with predicates": (Pair(False, ft.is_inexact_array), ("two.weight", "two.bias")),
    "path": ("two.weight", ("two.weight",)),
    "wildcard": ("*.bias", ("one.bias", "two.bias")),
    "paths": (["one.bias", "two.weight"], ("one.bias", "two.weight")),
    "type": (jax.Array, ALL),
    "selector": (~where.path("one"), ("two.weight", "two.bias")),
    "selected types and paths": ((where.path("one") & where.type(jax.Array), "two.bias"),
                                 ("one.weight", "one.bias", "two.bias")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRT)
def test_wrt_says_what_is_differentiated(name: str):
    wrt, selected = WRT[name]
    values = {path: part_of(PAIR, path) for path in selected}

    def by_hand(values: dict[str, jax.Array]) -> jax.Array:
        parts = {path: part_of(PAIR, path) for path in ALL} | values
        one = (jnp.tanh(parts["one.weight"] @ X + parts["one.bias"]) * 2.0).sum()
        return one * (jnp.sin(parts["two.weight"] @ (2 * X) + parts["two.bias"]) * 2.0).sum()

    expected_value, expected = jax.value_and_grad(by_hand)(values)
    value, gradient = ft.filter_value_and_grad(Pair.loss, wrt=wrt)(PAIR, X)
    assert value == expected_value
    for path in ALL:
        got = part_of(gradient, path)
        if path in selected:
            np.testing.assert_array_equal(got, expected[path])
        else:
            assert got is None
    assert jax.tree.structure(gradient).num_leaves == len(selected)
    # The same as a decorator, jitted and with an auxiliary output.
    traced = ft.filter_jit(
        ft.filter_grad(has_aux=True, wrt=wrt)(lambda pair, x: (pair.loss(x), "aux"))
    )
    jitted, aux = traced(PAIR, X)
    assert aux == "aux" and jax.tree.structure(jitted) == jax.tree.structure(gradient)
    for ours, eager in zip(jax.tree.leaves(jitted), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(ours, eager, rtol=1e-6)


def part_of(tree: Any, path: str) -> Any:
    first, second = path.split(".")
    return getattr(getattr(tree, first), second)


def test_wrt_agrees_with_what_is_frozen():
    tree = freeze({"w": X, "b": 2 * X}, "b")
    gradient = ft.filter_grad(lambda t: (t["w"] * t["b"].value).sum(), wrt=trainable(tree))(tree)
    np.testing.assert_array_equal(gradient["w"], 2 * X)
    assert gradient["b"].value is None


def test_what_wrt_leaves_out_may_be_of_any_dtype_and_is_no_tracer():
    def f(t: dict[str, jax.Array]) -> jax.Array:
        assert float(t["scale"][0]) == 0.5  # a value, since nothing differentiates it
        return (t["x"] * t["scale"]).sum()

    gradient = ft.filter_grad(f, wrt="x")({"x": X, "scale": X, "n": jnp.arange(2)})
    np.testing.assert_array_equal(gradient["x"], X)
    assert gradient["scale"] is None and gradient["n"] is None


def test_wrong_wrt():
    with pytest.raises(WhereError, match=r"(?s)`two.wieght`.*two\.weight"):
        ft.filter_grad(Pair.loss, wrt="two.wieght")(PAIR, X)
    with pytest.raises(TypeError, match=r"nothing to differentiate.*`wrt='\*\.steps'`"):
        ft.filter_grad(Pair.loss, wrt="*.steps")(PAIR, X)
    with pytest.raises(ValueError, match="`wrt` must be a prefix of the tree"):
        ft.filter_grad(Pair.loss, wrt=[True, False])(PAIR, X)
    with pytest.raises(ValueError, match="`wrt` must consist of booleans and callables"):
        ft.filter_grad(Pair.loss, wrt=1)(PAIR, X)


def test_errors():
    with pytest.raises(TypeError, match=r"(?s)first argument passed by position.*Got.*x"):
        ft.filter_grad(lambda x: x.sum())(x=X)
    with pytest.raises(TypeError, match="at least one positional argument"):
        ft.filter_value_and_grad(lambda: 1.0)()
    with pytest.raises(ValueError, match="argnums"):
        ft.filter_grad(loss, argnums=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        ft.filter_grad(loss, foo=1)
    with pytest.raises(TypeError, match="nothing to differentiate.*array of int32, float"):
        ft.filter_grad(lambda x: 1.0)([jnp.arange(2), 1.0])
    with pytest.raises(TypeError, match="two-element tuple"):
        ft.filter_grad(lambda x: x.sum(), has_aux=True)(X)
    with pytest.raises(TypeError, match="scalar-output"):
        ft.filter_grad(lambda x: x)(X)
    with pytest.raises(TypeError, match="`filter_grad` expects a function"):
        ft.filter_grad(1)
