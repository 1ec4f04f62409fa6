"""The layers of a `Stacked`, made one by one and in one trace: the same layers, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers as nn
from filtered_transforms import filter_jit, filter_map
from nn_layers._models import make_stack as made
from pytree_module import Module
from tree_surgery import tree_equal


class Block(Module):
    norm: nn.LayerNorm
    attention: nn.MultiheadAttention
    scale: jax.Array
    name: str

    def __init__(self, key):
        self.norm = nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(2, 6, use_query_bias=True, key=key)
        self.scale = jnp.array(0.5)
        self.name = "block"

    def __call__(self, x):
        return x + self.scale * self.attention(x, x, x)


MAKES = {
    "Linear": lambda key: nn.Linear(3, 3, key=key),
    "MLP": lambda key: nn.MLP(3, 3, 5, 2, key=key),
    "cell": lambda key: nn.LSTMCell(3, 3, key=key),
    "convolution": lambda key: nn.Conv2d(3, 3, 3, padding=1, key=key),
    "half precision": lambda key: nn.Linear(3, 3, dtype=jnp.bfloat16, key=key),
    "block": Block,
}


@pytest.mark.parametrize("name", MAKES)
@pytest.mark.parametrize("n", [2, 5])
def test_both_ways_make_the_same(name: str, n: int):
    make, key = MAKES[name], jax.random.key(n)
    one_by_one = made._one_by_one(make, list(jax.random.split(key, n)))
    assert one_by_one is not None
    stacked = nn.Stacked(make, n, key=key)
    traced = filter_map(make, jax.random.split(key, n))
    # XLA (JAX 0.12) rounds half precision less often in a larger program.
    options = {"rtol": 0.01, "atol": 0.01} if name == "half precision" else {}
    assert tree_equal(one_by_one, stacked.layers)
    assert tree_equal(traced, stacked.layers, **options)
    for i, own_key in enumerate(jax.random.split(key, n)):
        assert tree_equal(stacked[i], make(own_key))


def test_nothing_is_compiled_for_a_stack_of_another_length(compiled: list[str]):
    jax.clear_caches()
    make = MAKES["MLP"]
    nn.Stacked(make, 3, key=jax.random.key(0))
    assert compiled
    compiled.clear()
    nn.Stacked(make, 4, key=jax.random.key(1))
    assert not compiled


def test_many_layers_are_made_in_one_trace():
    calls = []

    def make(key):
        calls.append(isinstance(key, jax.core.Tracer))
        return nn.Linear(2, 2, key=key)

    n = made._ONE_BY_ONE
    nn.Stacked(make, n, key=jax.random.key(0))
    assert calls == n * [False]
    calls.clear()
    many = nn.Stacked(make, n + 1, key=jax.random.key(0))
    assert calls == [True] and many.layers.weight.shape == (n + 1, 2, 2)


def with_its_own_function(key):
    return nn.Sequential([nn.Linear(3, 3, key=key), nn.Lambda(lambda x: x + 1)])


class Holding(Module):
    value: jax.Array

    def __call__(self, x):
        return x


OTHERS = {
    "function": with_its_own_function,
    "key": Holding,
    "second device": lambda key: Holding(jax.device_put(0.5, jax.devices()[1])),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_cannot_be_stacked_by_numpy_is_made_in_one_trace(make):
    keys = jax.random.split(jax.random.key(0), 3)
    assert made._one_by_one(make, list(keys)) is None
    stacked = nn.Stacked(make, 3, key=jax.random.key(0))
    leaves = [x for x in jax.tree.leaves(stacked.layers) if isinstance(x, jax.Array)]
    assert {len(x) for x in leaves} == {3}
    traced = [x for x in jax.tree.leaves(filter_map(make, keys)) if isinstance(x, jax.Array)]
    assert tree_equal(leaves, traced)


@pytest.mark.parametrize(
    "key",
    [None, 3, jnp.ones(2), jax.random.split(jax.random.key(0))],
    ids=["none", "int", "float", "two"],
)
def test_what_is_no_key(key):
    with pytest.raises(TypeError, match="`Stacked`"):
        nn.Stacked(MAKES["Linear"], 3, key=key)


def test_a_state_is_stacked_too():
    make = lambda key: nn.Sequential([nn.BatchNorm(3, "batch", mode="batch")])  # noqa: E731
    stacked, state = nn.make_with_state(nn.Stacked)(make, 3, key=jax.random.key(0))
    assert stacked.layers.layers[0].weight.shape == (3, 3)
    assert {len(x) for x in jax.tree.leaves(state)} == {3}


def test_under_jit_and_in_another_place():
    make, key = MAKES["Linear"], jax.random.key(3)
    expected = nn.Stacked(make, 3, key=key).layers.weight
    traced = filter_jit(lambda key: nn.Stacked(make, 3, key=key))(key)
    np.testing.assert_array_equal(traced.layers.weight, expected)
    closed_over = filter_jit(lambda: nn.Stacked(make, 3, key=key))()
    np.testing.assert_array_equal(closed_over.layers.weight, expected)
    second = jax.devices()[1]
    there = nn.Stacked(make, 3, key=jax.device_put(key, second))
    assert there.layers.weight.devices() == {second}
    np.testing.assert_array_equal(there.layers.weight, expected)
