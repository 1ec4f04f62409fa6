"""Jacobians and Hessians, against JAX on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.linspace(0.5, 2.0, 3)
V = jnp.arange(3.0)


class Model(Module):
    weight: jax.Array
    bias: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    steps: int = 2

    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.steps):
            x = self.activation(self.weight @ x + self.bias)
        return x


W = jnp.arange(9.0).reshape(3, 3) / 9
MODEL = Model(W, jnp.ones(3))


def model_of(arrays: Any) -> Model:
    return Model(arrays["weight"], arrays["bias"])


def by_hand(arrays: Any, x: jax.Array) -> jax.Array:
    return model_of(arrays)(x)


def arrays_of(model: Model) -> dict[str, jax.Array]:
    return {"weight": model.weight, "bias": model.bias}


def call(model: Model, x: jax.Array) -> jax.Array:
    return model(x)


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


JACOBIANS = {
    "filter_jacfwd": jax.jacfwd,
    "filter_jacrev": jax.jacrev,
    "filter_hessian": jax.hessian,
}


@pytest.mark.parametrize("name", JACOBIANS)
# https://github.com/patrick-kidger/equinox/issues/801
# https://github.com/patrick-kidger/equinox/issues/734
def test_jacobians_equal_those_of_jax(name: str):
    ours, theirs = getattr(ft, name), JACOBIANS[name]
    for f in (jax.nn.relu, jnp.tanh, lambda x: (x**3).sum(), lambda x: {"a": x, "b": x**2}):
        for x in (X, jnp.array(1.0)):
            equal(ours(f)(x), theirs(f)(x))
            equal(ft.filter_jit(ours(f))(x), jax.jit(theirs(f))(x))
    x = jnp.stack([X, V])
    equal(ft.filter_vmap(ours(jnp.sin))(x), jax.vmap(theirs(jnp.sin))(x))


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians_of_modules(name: str):
    ours, theirs = getattr(ft, name), JACOBIANS[name]
    found = ours(call)(MODEL, X)
    expected = theirs(by_hand)(arrays_of(MODEL), X)
    if name == "filter_hessian":
        found = jax.tree.map(arrays_of, arrays_of(found), is_leaf=lambda x: isinstance(x, Model))
        equal(found, expected)
    else:
        assert found.activation is found.steps is None
        equal(arrays_of(found), expected)
    jacobian, aux = ours(lambda x: (jnp.sin(x), ("aux", x, 1)), has_aux=True)(X)
    equal(jacobian, theirs(jnp.sin)(X))
    assert aux[0] == "aux" and aux[2] == 1
    equal(aux[1], X)
