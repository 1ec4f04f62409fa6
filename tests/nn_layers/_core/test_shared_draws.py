"""Arrays whose bits NumPy draws, against `jax.random` on exactly their shapes."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn_layers as nn
from filtered_transforms import filter, filter_grad, filter_jit, filter_vmap, is_array
from nn_layers._core import shared_draws, threefry
from pytree_module import Module
from tree_surgery import tree_equal

# JAX 0.7.2 has it elsewhere.
X64_HOME = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
SHAPES = [(), (0,), (1,), (3, 5), (1023,), (2, 8, 64), (1025,), (130, 130), (3, 300, 300)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "complex64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_numbers_are_those_of_the_shape_itself(shape: tuple[int, ...], dtype: str):
    key, dtype = jax.random.key(len(shape)), jnp.dtype(dtype)
    drawn = shared_draws.draw(jax.random.normal, key, shape, dtype)
    exact = jax.random.normal(key, shape, dtype)
    assert drawn.shape == shape and drawn.dtype == dtype and not drawn.weak_type
    np.testing.assert_array_equal(drawn, exact)
    if dtype != "complex64":
        drawn = shared_draws.draw(jax.random.uniform, key, shape, dtype, -0.3, 0.3)
        np.testing.assert_array_equal(drawn, jax.random.uniform(key, shape, dtype, -0.3, 0.3))


@pytest.mark.parametrize("shapes", [[(3,), (), (2, 2)], [(200, 100), (5,), (0,)], [(2**20,), (7,)]])
def test_several_arrays_at_once(shapes: list[tuple[int, ...]]):
    keys = jax.random.split(jax.random.key(4), len(shapes))
    words = np.asarray(jax.random.key_data(keys))
    drawn = shared_draws.draw_each(jax.random.uniform, words, shapes, jnp.dtype("float32"), -2, 0.1)
    for key, shape, array in zip(keys, shapes, drawn, strict=True):
        exact = jax.random.uniform(key, shape, jnp.float32, -2, 0.1)
        np.testing.assert_array_equal(array, exact)


@given(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), st.integers(1, 2**15))
def test_the_bits_are_those_of_jax(words: tuple[int, int], count: int):
    data = np.array(words, np.uint32)
    key = jax.random.wrap_key_data(data)
    high, low = threefry.random_words(data[None], (count,), count)
    np.testing.assert_array_equal(high ^ low, jax.random.bits(key, (2**15,))[:count])


def test_double_precision_and_more_than_the_longest():
    with X64_HOME.enable_x64(True):
        key = jax.random.key(7)
        for shape in ((5, 4), (2**20 + 1,)):
            dtype = jnp.dtype("float64")
            drawn = shared_draws.draw(jax.random.uniform, key, shape, dtype, -0.1, 0.1)
            exact = jax.random.uniform(key, shape, dtype, -0.1, 0.1)
            np.testing.assert_array_equal(drawn, exact)


KEYS = {
    "default": lambda: jax.random.key(5),
    "raw": lambda: jax.random.PRNGKey(5),
    "another generator": lambda: jax.random.key(5, impl="rbg"),
    "on the second device": lambda: jax.device_put(jax.random.key(5), jax.devices()[1]),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_layer_is_the_same_however_often_it_is_made(key):
    """The bits of the first are drawn by NumPy; the last have a program of their own."""
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


class Two(Module):
    """Draws with a bias and without, and splits its key."""

    linear: nn.Linear
    table: nn.Embedding
    heads: nn.MultiheadAttention

    def __init__(self, key: jax.Array):
        keys = jax.random.split(key, 3)
        self.linear = nn.Linear(5, 7, use_bias=False, key=keys[0])
        self.table = nn.Embedding(3, 2, key=keys[1])
        self.heads = nn.MultiheadAttention(2, 6, key=keys[2])


MAPPED = {
    "vmap": lambda make, keys: filter_vmap(make)(keys),
    "vmap of vmap": lambda make, keys: jax.tree.map(
        lambda x: x[0] if is_array(x) else x, filter_vmap(filter_vmap(make))(keys[None])
    ),
    "jit of vmap": lambda make, keys: filter_jit(filter_vmap(make))(keys),
    "vmap of jit": lambda make, keys: filter_vmap(filter_jit(make))(keys),
    "vmap of grad": lambda make, keys: filter_vmap(
        lambda key: filter_grad(lambda x: (x * x, make(key)), has_aux=True)(jnp.ones(()))[1]
    )(keys),
}


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
@pytest.mark.parametrize("how", MAPPED)
def test_models_that_are_made_together_are_those_made_one_by_one(how: str, raw: bool):
    key = jax.random.PRNGKey(3) if raw else jax.random.key(3)
    keys = jax.random.split(key, 4)
    together = filter(MAPPED[how](Two, keys), is_array)
    apart = [filter(Two(key), is_array) for key in keys]
    assert tree_equal(together, jax.tree.map(lambda *xs: jnp.stack(xs), *apart))


def test_models_that_are_made_together_share_programs(compiled: list[str]):
    keys = jax.random.split(jax.random.key(0), 3)
    make = lambda key: nn.MLP(5, 4, 17, 2, key=key)  # noqa: E731
    other = lambda key: nn.MLP(4, 6, 11, 2, key=key)  # noqa: E731
    filter_vmap(make)(keys)
    compiled.clear()
    filter_vmap(other)(keys)
    assert not compiled


@pytest.mark.parametrize("count", [0, 1, 64, 65])
def test_any_number_of_keys(count: int):
    keys = jax.random.split(jax.random.key(1), count)
    together = filter_vmap(lambda key: nn.Linear(2, 3, key=key))(keys)
    apart = jax.jit(jax.vmap(lambda key: nn.Linear(2, 3, key=key).weight))(keys)
    np.testing.assert_array_equal(together.weight, apart)


def test_a_batch_of_keys_where_one_is_meant():
    with pytest.raises((TypeError, ValueError), match="key"):
        nn.Linear(3, 2, key=jax.random.split(jax.random.key(0), 2))
