"""`filter_hvp`, against the Hessian times a vector."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0) + 1
V = jnp.array([2.0, -1.0, 0.5])


class Model(Module):
    weight: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation(self.weight * x)


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


# https://github.com/patrick-kidger/equinox/issues/807
def test_hvp():
    def f(m: Model, x: Any, *, power: int) -> jax.Array:
        return jnp.sum(m(x) ** power)

    tangents = (Model(V, None), X)
    for wrap in (lambda f: f, ft.filter_jit):
        (model, x), (hm, hx) = wrap(lambda m, x, t: ft.filter_hvp(f, (m, x), t, power=2))(
            Model(V), X, tangents
        )

        def by_hand(p: Any) -> Any:
            return jnp.sum(jnp.tanh(p[0] * p[1]) ** 2)

        (w, gx), (hw, hgx) = jax.jvp(jax.grad(by_hand), ((V, X),), ((V, X),))
        for ours, theirs in zip((model.weight, x, hm.weight, hx), (w, gx, hw, hgx), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert model.activation is hm.activation is None
    hessian = jax.hessian(lambda x: jnp.sum(jnp.sin(x) * x**2))(X)
    _, (product,) = ft.filter_hvp(lambda x: jnp.sum(jnp.sin(x) * x**2), [X], [V])
    np.testing.assert_allclose(product, hessian @ V, rtol=1e-5)
    _, (linear, none) = ft.filter_hvp(lambda x, n: (x * n).sum(), (X, 2.0), (V, None))
    equal(linear, jnp.zeros(3))
    assert none is None
    with pytest.raises(ValueError, match="same pytree structure"):
        ft.filter_hvp(lambda x: x.sum(), (X,), ([V],))
