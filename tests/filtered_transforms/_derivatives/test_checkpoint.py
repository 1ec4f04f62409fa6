"""`filter_checkpoint`, against `jax.checkpoint` on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.linspace(0.5, 2.0, 3)


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


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


@pytest.mark.parametrize("policy", [None, jax.checkpoint_policies.everything_saveable])
def test_checkpoint(policy: Any):
    f = ft.filter_checkpoint(lambda m, x, name: (m(x).sum(), name), policy=policy)
    assert f(MODEL, X, "n")[1] == "n"

    def loss(model: Model) -> jax.Array:
        return f(model, X, "n")[0]

    expected = jax.grad(lambda a: jax.checkpoint(by_hand, policy=policy)(a, X).sum())
    equal(arrays_of(ft.filter_grad(loss)(MODEL)), expected(arrays_of(MODEL)))
    jaxpr = str(jax.make_jaxpr(lambda x: f(MODEL, x, "n")[0])(X))
    assert "checkpoint" in jaxpr or "remat" in jaxpr
