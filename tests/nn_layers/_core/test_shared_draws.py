"""Arrays that are cut from longer ones, against `jax.random` on exactly their shapes."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers as nn
from nn_layers._core import shared_draws

# JAX 0.7.2 has it elsewhere.
X64_HOME = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
SHAPES = [(), (0,), (1,), (3, 5), (1023,), (2, 8, 64), (1025,), (130, 130), (3, 300, 300)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "complex64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_numbers_are_those_of_the_shape_itself(shape: tuple[int, ...], dtype: str):
    key, dtype = jax.random.key(len(shape)), jnp.dtype(dtype)
    cut = shared_draws.cut(jax.random.normal, key, shape, dtype)
    exact = jax.random.normal(key, shape, dtype)
    assert cut.shape == shape and cut.dtype == dtype and not cut.weak_type
    np.testing.assert_array_equal(cut, exact)
    if dtype != "complex64":
        cut = shared_draws.cut(jax.random.uniform, key, shape, dtype, -0.3, 0.3)
        np.testing.assert_array_equal(cut, jax.random.uniform(key, shape, dtype, -0.3, 0.3))


def test_double_precision_and_more_than_the_longest():
    with X64_HOME.enable_x64(True):
        key = jax.random.key(7)
        for shape in ((5, 4), (2**20 + 1,)):
            cut = shared_draws.cut(jax.random.uniform, key, shape, jnp.dtype("float64"), -0.1, 0.1)
            exact = jax.random.uniform(key, shape, jnp.float64, -0.1, 0.1)
            np.testing.assert_array_equal(cut, exact)


KEYS = {
    "default": lambda: jax.random.key(5),
    "raw": lambda: jax.random.PRNGKey(5),
    "another generator": lambda: jax.random.key(5, impl="rbg"),
    "on the second device": lambda: jax.device_put(jax.random.key(5), jax.devices()[1]),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_layer_is_the_same_however_often_it_is_made(key):
    """The first draws are cut, the last ones have a program of their own."""
    key = key()
    first = nn.Linear(6, 11, key=key)
    weight_key, bias_key = jax.random.split(key)
    bound = 1 / np.sqrt(6)
    exact = jax.random.uniform(weight_key, (11, 6), minval=-bound, maxval=bound)
    np.testing.assert_array_equal(first.weight, exact)
    exact = jax.random.uniform(bias_key, (11,), minval=-bound, maxval=bound)
    np.testing.assert_array_equal(first.bias, exact)
    for _ in range(shared_draws._OFTEN + 1):
        last = nn.Linear(6, 11, key=key)
    for one, other in ((first.weight, last.weight), (first.bias, last.bias)):
        np.testing.assert_array_equal(one, other)
        assert one.devices() == other.devices() == key.devices()
        assert one.committed == other.committed == key.committed


def test_layers_of_many_shapes_share_programs(compiled: list[str]):
    jax.clear_caches()
    nn.MLP(3, 4, 17, 2, key=jax.random.key(0))
    nn.Embedding(13, 2, key=jax.random.key(0))
    assert compiled
    compiled.clear()
    nn.MLP(5, 2, 23, 2, key=jax.random.key(1))
    nn.Conv2d(3, 7, 3, key=jax.random.key(2))
    nn.Embedding(17, 3, key=jax.random.key(3))
    assert not compiled


def test_a_key_that_is_no_tracer_in_a_traced_function():
    key = jax.random.key(1)
    made = jax.jit(lambda: nn.Linear(3, 2, key=key).weight)()
    np.testing.assert_array_equal(made, nn.Linear(3, 2, key=key).weight)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 63, 64, 65])
def test_keys_are_those_of_a_split_into_as_many(count: int):
    key = jax.random.key(count)
    keys = [jax.random.key_data(one) for one in shared_draws.split(key, count)]
    np.testing.assert_array_equal(keys, jax.random.key_data(jax.random.split(key, count)))
