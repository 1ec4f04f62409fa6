"""What cannot be meant is an error that says so, and where in a model it was."""

import inspect

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import nn_layers
from filtered_transforms import filter_jit
from nn_layers import (
    MLP,
    AvgPool1d,
    Conv1d,
    Conv2d,
    Embedding,
    Lambda,
    Linear,
    MaxPool2d,
    MultiheadAttention,
    Pool,
    Sequential,
    ShapeError,
    SpectralNorm,
    Stacked,
    WeightNorm,
    make_with_state,
)
from pytree_module import Module
from tree_surgery import tree_at

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


def small():
    conv = Conv2d(1, 2, (3, 2), padding=((0, 1), (0, 0)), dilation=(2, 1), key=KEY)
    yield conv, (1, 3, 5), r"in_channels=1, dim_1 >= 4, dim_2 >= 2\).*size \(4, 5\).*\(5, 2\)"
    valid = Conv1d(1, 2, 3, padding="VALID", key=KEY)
    yield valid, (1, 2), r"dim_1 >= 3\)"
    wrapped = Conv1d(1, 2, 5, padding=1, padding_mode="CIRCULAR", key=KEY)
    yield wrapped, (1, 2), r"dim_1 >= 3\)"
    yield MaxPool2d(4), (1, 4, 3), r"channels, dim_1 >= 4, dim_2 >= 4\)"
    yield AvgPool1d(4, padding=1), (2, 1), r"channels, dim_1 >= 2\)"
    yield Pool(0, jax.lax.add, 1, 3), (1, 2), r"`Pool`.*dim_1 >= 3\)"


@pytest.mark.parametrize("case", list(small()), ids=lambda case: type(case[0]).__name__)
def test_an_image_that_is_smaller_than_the_kernel(case):
    layer, shape, text = case
    for call in (layer, jax.jit(lambda x: layer(x)), jax.vmap(layer, axis_size=2, in_axes=None)):
        with pytest.raises(ShapeError, match=text) as error:
            call(jnp.ones(shape))
        assert error.value.received == shape
    if getattr(layer, "padding_mode", "ZEROS") != "ZEROS":
        return  # of nothing there is no other side
    # Nothing is expected of nothing.
    empty = layer(jnp.ones((shape[0], *[0] * (len(shape) - 1))))
    assert empty.size == 0 and empty.ndim == len(shape)


def test_large_enough_by_padding():
    x = jnp.ones((1, 2))
    for padding in (1, "SAME"):
        assert Conv1d(1, 2, 3, padding=padding, key=KEY)(x).shape == (2, 2)
    assert AvgPool1d(4, use_ceil=True)(x).shape == (1, 1)


class Two(Module):
    """A layer of somebody's own, that fails in its own way."""

    def __call__(self, x):
        raise RuntimeError("of its own")


def located():
    x = jnp.ones(5)
    mlp = MLP(2, 3, 4, 1, key=KEY)
    yield mlp, x, r"^MLP\.layers\[0\]: `Linear` takes .*\(2,\).*received one of shape \(5,\)"
    yield Sequential([jnp.tanh, mlp]), x, r"^Sequential\.layers\[1\]\.layers\[0\]: `Linear` takes"
    linear = Linear(2, 3, key=KEY)
    yield WeightNorm(linear), x, r"^WeightNorm\.layer: `Linear` takes"
    scanned = tree_at(lambda m: m.layers[0], MLP(2, 3, 4, 2, scan=True, key=KEY), linear)
    scanned = Sequential([lambda x: x[:2], scanned])  # its first layer puts out too little
    yield scanned, x, r"^Sequential\.layers\[1\]\.layers\[1\]: `Linear` takes .*\(4,\).*\(3,\)"
    nested = Sequential([Sequential([WeightNorm(linear)])])
    yield nested, x, r"^Sequential\.layers\[0\]\.layers\[0\]\.layer: `Linear` takes"
    stacked = Stacked(lambda key: Sequential([Linear(3, 3, key=key)]), 2, key=KEY)
    yield stacked, x, r"^Stacked\.layers\.layers\[0\]: `Linear` takes"


@pytest.mark.parametrize("case", list(located()), ids=lambda case: type(case[0]).__name__)
def test_a_wrong_shape_says_where_it_was(case):
    layer, x, text = case
    told = set()
    for call in (layer, jax.jit(lambda x: layer(x)), filter_jit(layer)):
        with pytest.raises(ShapeError, match=text) as error:
            call(x)
        assert error.value.path == str(error.value).partition(": ")[0]
        assert f"shape {error.value.received}." in str(error.value)
        told.add(str(error.value))
    assert len(told) == 1


def test_a_layer_that_is_called_itself_has_no_path():
    with pytest.raises(ShapeError) as error:
        Linear(2, 3, key=KEY)(jnp.ones(5))
    assert error.value.path == "" and str(error.value).startswith("`Linear` takes")


def test_with_a_state():
    def make():
        return Sequential([SpectralNorm(Linear(2, 3, key=KEY), "weight", key=KEY)])

    model, state = make_with_state(make)()
    with pytest.raises(ShapeError, match=r"^Sequential\.layers\[0\]\.layer: `Linear` takes"):
        model(jnp.ones(5), state)


def test_dropout_in_attention_says_whose_key_it_needs():
    attention, x = MultiheadAttention(1, 4, dropout_p=0.5, key=KEY), jnp.ones((3, 4))
    for call in (attention, filter_jit(attention)):
        with pytest.raises(RuntimeError, match="requires a key") as error:
            call(x, x, x)
        assert any("attention(query, key_, value, key=key)" in n for n in error.value.__notes__)


def same_while_traced():
    x, h = jnp.ones((4, 2)), jnp.ones(3)
    lstm, gru = nn_layers.LSTMCell(2, 3, key=KEY), nn_layers.GRUCell(2, 3, key=KEY)
    yield lstm, (x[0], h), r"takes a pair .*received an array of shape \(3,\)"
    yield nn_layers.Bidirectional(gru, gru), (x, h), r"a pair.*received an array of shape \(3,\)"
    yield MaxPool2d(2), (x,), r"layer\(x\[None\]\)"
    yield nn_layers.AdaptiveAvgPool2d(2), (x,), r"layer\(x\[None\]\)"


@pytest.mark.parametrize("case", list(same_while_traced()), ids=lambda case: type(case[0]).__name__)
def test_errors_read_the_same_while_traced(case):
    layer, arguments, text = case
    told = set()
    for call in (layer, jax.jit(lambda *xs: layer(*xs))):
        with pytest.raises(TypeError, match=text) as error:
            call(*arguments)
        told.add(str(error.value))
    assert len(told) == 1


def test_other_errors_get_a_note():
    model = Sequential([Lambda(jnp.tanh), Sequential([Two()])])
    for call in (model, jax.jit(lambda x: model(x))):
        with pytest.raises(RuntimeError, match="of its own") as error:
            call(jnp.ones(2))
        notes = [n for n in error.value.__notes__ if "layers" in n]
        assert notes == [
            "This was in Sequential.layers[0], a Two.",
            "This was in Sequential.layers[1], a Sequential.",
        ]
