"""Arguments that cannot be meant are errors that say so."""

import inspect

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import nn_layers
from filtered_transforms import filter_jit
from nn_layers import (
    MLP,
    Conv1d,
    Embedding,
    Lambda,
    Linear,
    MultiheadAttention,
    Sequential,
    SpectralNorm,
    Stacked,
)

KEY = jr.key(0)
MAKES = {
    "Linear": lambda key: Linear(2, 3, key=key),
    "Conv1d": lambda key: Conv1d(2, 3, 1, key=key),
    "Embedding": lambda key: Embedding(2, 3, key=key),
    "GRUCell": lambda key: nn_layers.GRUCell(2, 3, key=key),
    "MLP": lambda key: MLP(2, 3, 4, 1, key=key),
    "MultiheadAttention": lambda key: MultiheadAttention(2, 4, key=key),
    "SpectralNorm": lambda key: SpectralNorm(Linear(2, 3, key=KEY), "weight", key=key),
    "Stacked": lambda key: Stacked(lambda key: Linear(2, 2, key=key), 3, key=key),
}


@pytest.mark.parametrize("name", MAKES)
def test_a_key_that_is_none(name):
    for key in (3, "3", 0.5, np.arange(3)):
        with pytest.raises(TypeError, match=rf"`{name}`: `key` must be one key.*got"):
            MAKES[name](key)
    batches = (jr.split(KEY, 3), jr.split(jr.PRNGKey(0), 3))
    for keys in batches:
        with pytest.raises(TypeError, match=rf"`{name}`: .*keys of shape \(3,\).*filter_vmap"):
            MAKES[name](keys)


def test_what_cannot_be_called_is_no_layer():
    with pytest.raises(TypeError, match=r"`layers\[1\]` is 3"):
        Sequential([Lambda(jnp.tanh), 3])
    with pytest.raises(TypeError, match=r"`layers\[0\]` is .*Linear"):
        Sequential([Linear])
    with pytest.raises(TypeError, match="`Lambda` takes a function, but received 3"):
        Lambda(3)
    with pytest.raises(TypeError, match="`make` must return a layer.*returned a int"):
        Stacked(lambda key: 3, 3, key=KEY)


def test_a_table_of_integers_is_given():
    with pytest.raises(ValueError, match="`Embedding`: `dtype` must be floating.*int32"):
        Embedding(2, 3, dtype=jnp.int32, key=KEY)
    np.testing.assert_array_equal(Embedding(weight=jnp.arange(6).reshape(2, 3))(1), [3, 4, 5])


def test_heads_of_size_zero():
    with pytest.raises(ValueError, match=r"8 heads of a `query_size` of 4.*`qk_size=`"):
        MultiheadAttention(8, 4, key=KEY)
    with pytest.raises(ValueError, match="8 heads"):
        MultiheadAttention(8, 4, qk_size=2, key=KEY)
    attention = MultiheadAttention(8, 4, qk_size=2, vo_size=1, key=KEY)
    assert attention(*[jnp.ones((3, 4))] * 3).shape == (3, 4)
    # As everywhere, what is left over by the division is left out.
    assert MultiheadAttention(3, 10, key=KEY).qk_size == 3


@pytest.mark.parametrize("name", nn_layers.__all__)
def test_signatures_can_be_read(name):
    for function in (getattr(nn_layers, name), getattr(nn_layers, name).__call__):
        try:
            text = str(inspect.signature(function))
        except (TypeError, ValueError):
            continue
        assert "<object object at" not in text, text


def test_dropout_in_attention_says_whose_key_it_needs():
    attention, x = MultiheadAttention(1, 4, dropout_p=0.5, key=KEY), jnp.ones((3, 4))
    for call in (attention, filter_jit(attention)):
        with pytest.raises(RuntimeError, match="requires a key") as error:
            call(x, x, x)
        assert any("attention(query, key_, value, key=key)" in n for n in error.value.__notes__)
