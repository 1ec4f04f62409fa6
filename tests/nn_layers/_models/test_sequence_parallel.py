"""`sequence_parallel`: the same numbers, from activations of which each device keeps a part."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import nn_layers as nn
from filtered_transforms import filter_device_put, filter_grad, filter_jit
from pytree_module import Module

pytestmark = pytest.mark.heavy

KEY = jax.random.key(0)
SIZE = 16


class Block(Module):
    norm: nn.LayerNorm
    attention: nn.MultiheadAttention
    mlp: nn.MLP

    def __init__(self, key):
        self.norm = nn.LayerNorm(SIZE)
        self.attention = nn.MultiheadAttention(2, SIZE, key=key)
        self.mlp = nn.MLP(SIZE, SIZE, 4 * SIZE, 1, key=key)

    def __call__(self, x, *, scale=1.0):
        y = jax.vmap(self.norm)(x)
        x = x + scale * self.attention(y, y, y)
        return x + jax.vmap(self.mlp)(x)


def stacked(n=3, remat: Any = "elementwise"):
    return nn.Stacked(Block, n, remat=remat, key=KEY)


def loss(model, x):
    return jnp.mean(jax.vmap(model)(x) ** 2)


def split_loss(model, x):
    return loss(nn.gather_where_used(nn.sequence_parallel(model, blocks=Block)), x)


def mesh_of(axis_type):
    return jax.make_mesh((2,), ("model",), axis_types=(axis_type,))


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("make", [stacked, lambda: nn.Sequential([Block(KEY), Block(KEY)])])
def test_values_and_gradients_are_those_of_one_device(axis_type, make):
    model, x = make(), jax.random.normal(KEY, (4, 6, SIZE))
    expected = filter_grad(loss)(model, x)
    mesh = mesh_of(axis_type)
    with jax.set_mesh(mesh):
        placed = filter_device_put(model, nn.tensor_parallel())
        everywhere = jax.device_put(x, NamedSharding(mesh, P()))
        received = filter_jit(filter_grad(split_loss))(placed, everywhere)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(received), strict=True):
        if hasattr(a, "shape"):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_what_is_kept_between_blocks_is_split(axis_type):
    x = jax.ShapeDtypeStruct((4, 64, SIZE), jnp.float32)
    mesh = mesh_of(axis_type)

    def temporaries(loss, n):
        with jax.set_mesh(mesh):
            model = stacked(n, remat=True)  # nothing but the input of each block is kept
            model = filter_device_put(model, nn.tensor_parallel())
            compiled = filter_jit(filter_grad(loss)).lower(model, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    between_blocks = 4 * x.size
    plain, split = (temporaries(f, 12) - temporaries(f, 4) for f in (loss, split_loss))
    assert plain > 0.95 * 8 * between_blocks
    assert split < 0.6 * plain


def test_arguments_results_and_errors():
    x = jnp.ones((2, 6, SIZE))
    with jax.set_mesh(mesh_of(AxisType.Auto)):
        model = nn.sequence_parallel(stacked())

        @jax.jit
        def f(x):
            return jax.vmap(lambda x: model(x, shared={"scale": 0.5}))(x)

        expected = jax.vmap(lambda x: stacked()(x, shared={"scale": 0.5}))(x)
        np.testing.assert_allclose(f(x), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(nn.ShapeError, match="`Block` must be of shape .* divides by 2.*5, 16"):
            f(jnp.ones((2, 5, SIZE)))
        with pytest.raises(ValueError, match="no axis 'other' in the mesh, which has {'model': 2}"):
            jax.jit(jax.vmap(nn.sequence_parallel(stacked(), "other")))(x)
