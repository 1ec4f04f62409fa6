"""An input of a wrong shape is an error that names the layer by its path, eagerly and traced."""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import nn_layers
from filtered_transforms import filter_jit
from nn_layers import (
    MLP,
    Lambda,
    Linear,
    MaxPool2d,
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
