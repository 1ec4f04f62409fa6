"""`default_init` against `jax.random.uniform`, and against what a layer draws."""

import jax
import jax.numpy as jnp
import numpy as np

import nn_layers as nn
from nn_layers.extend import (
    default_init,
)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_parameters_are_uniform():
    key = jax.random.key(0)
    expected = jax.random.uniform(key, (3, 4), jnp.float32, -0.5, 0.5)
    np.testing.assert_array_equal(default_init(key, (3, 4), jnp.float32, 0.5), expected)
    drawn = default_init(key, (3,), jnp.complex64, 0.5)
    for part, own in zip((drawn.real, drawn.imag), jax.random.split(key), strict=True):
        np.testing.assert_array_equal(part, jax.random.uniform(own, (3,), jnp.float32, -0.5, 0.5))


def test_parameters_are_those_of_a_layer():
    key = jax.random.key(3)
    linear = nn.Linear(4, 2, key=key)
    weight_key, bias_key = jax.random.split(key)
    np.testing.assert_array_equal(default_init(weight_key, (2, 4), "float32", 0.5), linear.weight)
    np.testing.assert_array_equal(default_init(bias_key, (2,), "float32", 0.5), linear.bias)
