"""Normalisations, in training and inference."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nn_layers as nn
from tree_surgery import tree_at

AFFINE = list(itertools.product((True, False), repeat=2))
DTYPES = ["float64", "float32", "float16", "bfloat16"]


def is_none(x):
    return x is None


def moved(layer):
    """Other parameters than the initial 1 and 0, each its own."""

    def move(leaf):
        rng = np.random.default_rng(leaf.size)
        return leaf + jnp.asarray(rng.normal(size=leaf.shape)).astype(leaf.dtype)

    return jax.tree.map(lambda x: move(x) if isinstance(x, jax.Array) else x, layer)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 4)])
@pytest.mark.parametrize(("use_weight", "use_bias"), AFFINE)
def test_layer_norm(agrees, draw, dtype, shape, use_weight, use_bias):
    layer = moved(nn.LayerNorm(shape, 1e-4, use_weight, use_bias, dtype=dtype))

    def call(own, x):
        return F.layer_norm(x, shape, own.get(".weight"), own.get(".bias"), 1e-4)

    agrees(layer, call, 3 + 2 * draw(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 4)])
@pytest.mark.parametrize(("use_weight", "use_bias"), AFFINE)
def test_rms_norm(agrees, draw, dtype, shape, use_weight, use_bias):
    layer = moved(nn.RMSNorm(shape, 1e-4, use_weight, use_bias, dtype=dtype))

    def call(own, x):
        return F.rms_norm(x, shape, own.get(".weight"), 1e-4) + own.get(".bias", 0)

    agrees(layer, call, 3 + 2 * draw(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("rest", [(5,), (3, 4), (2, 2, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm(agrees, draw, dtype, groups, rest, affine):
    layer = moved(nn.GroupNorm(groups, 6, 1e-4, affine, dtype=dtype))

    def call(own, x):
        return F.group_norm(x[None], groups, own.get(".weight"), own.get(".bias"), 1e-4)[0]

    agrees(layer, call, 3 + 2 * draw(6, *rest, dtype=dtype))


def batched(layer, x, state):
    """Over a batch. A state can be used once: its copy is."""
    call = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(x, jax.tree.map(lambda leaf: leaf, state))


SHAPES = [(4, 3), (4, 3, 5), (2, 3, 4, 2), (2, 3, 2, 2, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_training(draw, dtype, shape, affine):
    """Outputs, gradients and running mean are PyTorch's; its running variance is unbiased."""
    options = {"mode": "batch", "momentum": 0.8, "eps": 1e-3, "channelwise_affine": affine}
    layer, state = nn.make_with_state(nn.BatchNorm)(3, "batch", dtype=dtype, **options)
    layer = moved(layer)
    x = 2 + 3 * draw(*shape, dtype=dtype)
    weights = draw(*shape).astype(dtype)

    def loss(own, x):
        y, new = batched(
            tree_at(lambda m: (m.weight, m.bias), layer, own, is_leaf=is_none), x, state
        )
        return (y * weights).astype("float64").sum(), (y, new)

    differentiate = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, (y, new)), (own, own_x) = differentiate((layer.weight, layer.bias), x)

    wide = torch.tensor(np.asarray(x, np.float64), requires_grad=True)
    parameters = [
        torch.tensor(np.asarray(p, np.float64), requires_grad=True)
        for p in ((layer.weight, layer.bias) if affine else ())
    ]
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    theirs = F.batch_norm(wide, mean, variance, *parameters, training=True, momentum=0.2, eps=1e-3)
    (theirs * torch.tensor(np.asarray(weights, np.float64))).sum().backward()

    near = {"float64": 1e-9, "float32": 1e-4, "float16": 0.03, "bfloat16": 0.25}[dtype]
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y, "f8"), theirs.detach(), rtol=near, atol=near)
    np.testing.assert_allclose(np.asarray(own_x, "f8"), wide.grad, rtol=near, atol=near)
    for ours, parameter in zip(own if affine else (), parameters, strict=True):
        np.testing.assert_allclose(np.asarray(ours, "f8"), parameter.grad, rtol=near, atol=4 * near)
    kept_mean, kept_variance = new.get(layer.batch_state_index)
    np.testing.assert_allclose(np.asarray(kept_mean, "f8"), mean, rtol=near, atol=near)
    n = np.prod(shape) / 3
    biased = 0.8 + (variance.numpy() - 0.8) * (n - 1) / n
    np.testing.assert_allclose(np.asarray(kept_variance, "f8"), biased, rtol=near, atol=near)


@pytest.mark.parametrize("mode", ["batch", "ema"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_in_inference(draw, mode, shape):
    layer, state = nn.make_with_state(nn.BatchNorm)(
        3, "batch", mode=mode, eps=1e-3, momentum=0.6, dtype="float64", init_variance=1.0
    )
    for _ in range(2):
        x = 2 + 3 * draw(*shape)
        _, state = batched(layer, x, state)
    # The running averages of the state, freed from where they began (`mode="batch"`).
    index = layer.ema_state_index if mode == "ema" else layer.batch_state_index
    mean, variance = (np.asarray(a) for a in state.get(index))
    if mode == "batch":
        mean, variance = mean / (1 - 0.36), (variance - 0.36) / (1 - 0.36)

    layer = moved(layer)
    y, _ = jax.vmap(nn.inference_mode(layer), (0, None), (0, None))(x, state)
    theirs = F.batch_norm(
        torch.tensor(np.asarray(x)),
        torch.tensor(mean),
        torch.tensor(variance),
        torch.tensor(np.asarray(layer.weight)),
        torch.tensor(np.asarray(layer.bias)),
        eps=1e-3,
    )
    np.testing.assert_allclose(y, theirs, rtol=1e-9, atol=1e-9)


def test_batch_norm_of_running_averages_in_training(draw):
    """`mode="ema"`: gradients flow through the part of the averages that this batch gives."""
    layer, state = nn.make_with_state(nn.BatchNorm)(
        3, "batch", mode="ema", eps=1e-3, momentum=0.6, dtype="float64"
    )
    first, x, weights = 1 + draw(5, 3), 2 + 3 * draw(4, 3), draw(3, 4).T
    _, state = batched(layer, first, state)
    gradient = jax.grad(lambda x: (batched(layer, x, state)[0] * weights).sum())(x)

    wide = torch.tensor(np.asarray(x), requires_grad=True)
    then = torch.tensor(np.asarray(first))
    mean = 0.6 * then.mean(0) + 0.4 * wide.mean(0)
    variance = 0.6 * then.var(0, correction=0) + 0.4 * wide.var(0, correction=0)
    y = (wide - mean) / torch.sqrt(variance + 1e-3)
    (y * torch.tensor(np.asarray(weights))).sum().backward()
    np.testing.assert_allclose(gradient, wide.grad, rtol=1e-9, atol=1e-9)
