"""`filter_eval_shape`, against `jax.eval_shape`."""

import jax
import jax.numpy as jnp
import numpy as np

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(6.0).reshape(2, 3)
V = jnp.arange(3.0) + 1


class Linear(Module):
    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x

    @ft.filter_vmap(in_axes=(None, 0))
    def many(self, x: jax.Array) -> jax.Array:
        return self.weight @ x


def struct(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_eval_shape():
    out = ft.filter_eval_shape(
        lambda a, b, c: (a.T, b, c, 1, None, np.ones(2, np.float32)), X, "s", c=1.0
    )
    assert out == (struct(3, 2), "s", 1.0, 1, None, struct(2))
    assert ft.filter_eval_shape(lambda a: a * 2, struct(2)) == struct(2)
    model = ft.filter_eval_shape(Linear, X)
    assert isinstance(model, Linear) and model.weight == struct(2, 3)
    assert ft.filter_eval_shape(model, V) == struct(2)
    key = ft.filter_eval_shape(lambda k: jax.random.split(k)[0], jax.random.key(0))
    assert key.dtype == jax.random.key(0).dtype
