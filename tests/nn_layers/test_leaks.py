"""Nothing that is traced by a layer outlives its trace: `jax.checking_leaks`."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

import nn_layers as nn
from filtered_transforms import filter_grad, filter_jit

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(3)


def stateful(make: Any) -> Any:
    layer, state = nn.make_with_state(make)()

    def call(layer: Any, x: Any) -> Any:
        mapped = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        return mapped(x, state)[0]

    return layer, call


def plain(layer: Any) -> Any:
    return layer, lambda layer, x: layer(x)


# A layer that is differentiated, how it is called, and the shape of an input.
LAYERS: dict[str, Any] = {
    "BatchNorm": (lambda: stateful(lambda: nn.BatchNorm(2, "batch", mode="batch")), (3, 2)),
    "SpectralNorm": (
        lambda: stateful(lambda: nn.SpectralNorm(nn.Linear(2, 2, key=KEY), "weight", key=KEY)),
        (3, 2),
    ),
    "WeightNorm": (lambda: plain(nn.WeightNorm(nn.Linear(2, 2, key=KEY))), (2,)),
    "MLP": (lambda: plain(nn.MLP(2, 2, 2, 1, activation=nn.PReLU(), key=KEY)), (2,)),
    "Conv": (lambda: plain(nn.Conv1d(2, 2, 1, key=KEY)), (2, 3)),
    "LayerNorm": (lambda: plain(nn.LayerNorm(2)), (2,)),
    "RNN": (lambda: plain(nn.RNN(nn.GRUCell(2, 2, key=KEY))), (3, 2)),
    "Stacked": (
        lambda: plain(nn.Stacked(lambda key: nn.Linear(2, 2, key=key), 2, key=KEY)),
        (2,),
    ),
    "MultiheadAttention": (
        lambda: (nn.MultiheadAttention(1, 2, key=KEY), lambda layer, x: layer(x, x, x)),
        (3, 2),
    ),
    "RotaryPositionalEmbedding": (
        lambda: (
            (nn.RotaryPositionalEmbedding(2), nn.Linear(2, 2, key=KEY)),
            lambda layers, x: layers[0](jax.vmap(layers[1])(x)),
        ),
        (3, 2),
    ),
    "Dropout": (
        lambda: (
            (nn.Dropout(0.5), nn.Linear(2, 2, key=KEY)),
            lambda layers, x: layers[0](layers[1](x), key=KEY),
        ),
        (2,),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_leaks_from_a_layer(name: str):
    make, shape = LAYERS[name]
    layer, call = make()
    gradient = filter_grad(lambda layer, x: jnp.sum(call(layer, x)))
    of_jit = filter_grad(filter_jit(lambda layer, x: jnp.sum(call(layer, x))))
    with jax.checking_leaks():
        filter_jit(gradient)(layer, jnp.ones(shape))
        of_jit(layer, jnp.ones(shape))
