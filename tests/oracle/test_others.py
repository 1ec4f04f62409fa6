"""Affine maps, embeddings, PReLU, dropout, attention and recurrent cells."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nn_layers as nn

KEY = jr.PRNGKey(0)
DTYPES = ["float64", "float32", "float16", "bfloat16"]


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64", "complex128"])
@pytest.mark.parametrize("sizes", [(3, 4), (1, 5), (7, 1), (33, 17)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_linear(agrees, draw, dtype, sizes, use_bias):
    layer = nn.Linear(*sizes, use_bias, dtype=dtype, key=KEY)
    call = lambda own, x: F.linear(x, own[".weight"], own.get(".bias"))  # noqa: E731
    agrees(layer, call, draw(sizes[0], dtype=dtype))


@pytest.mark.parametrize(("i", "o"), [("scalar", 4), (3, "scalar"), ("scalar", "scalar")])
def test_linear_of_scalars(agrees, draw, i, o):
    def call(own, x):
        y = F.linear(x.reshape(-1), own[".weight"], own[".bias"])
        return y[0] if o == "scalar" else y

    x = draw() if i == "scalar" else draw(i)
    agrees(nn.Linear(i, o, dtype="float64", key=KEY), call, x)


def test_linear_of_nothing(agrees, draw):
    call = lambda own, x: F.linear(x, own[".weight"], own[".bias"])  # noqa: E731
    agrees(nn.Linear(0, 3, dtype="float64", key=KEY), call, draw(0))
    agrees(nn.Linear(3, 0, dtype="float64", key=KEY), call, draw(3))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_embedding(draw, dtype):
    layer = nn.Embedding(5, 3, dtype=dtype, key=KEY)
    tokens, weights = np.array([1, 4, 1, 0, 4, 1]), draw(6, 3, dtype=dtype)
    gradient = jax.grad(lambda m: (jax.vmap(m)(jnp.asarray(tokens)) * weights).sum())(layer)
    table = torch.tensor(np.asarray(layer.weight), requires_grad=True)
    y = F.embedding(torch.tensor(tokens), table)
    np.testing.assert_array_equal(jax.vmap(layer)(jnp.asarray(tokens)), y.detach())
    (y * torch.tensor(np.asarray(weights))).sum().backward()
    np.testing.assert_allclose(gradient.weight, table.grad, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("one_each", [True, False])
def test_prelu(agrees, draw, dtype, one_each):
    layer = nn.PReLU(draw(3, dtype=dtype) if one_each else jnp.asarray(0.3, dtype))

    def call(own, x):
        return F.prelu(x, own[".negative_slope"].reshape(-1))  # channels are its second axis

    agrees(layer, call, draw(4, 3, dtype=dtype))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_statistics(p):
    """No two libraries drop the same elements: the same share, scale, and no neighbours alike."""
    n = 200_000
    ours = np.asarray(nn.Dropout(p)(jnp.ones(n), key=KEY))
    torch.manual_seed(0)
    theirs = F.dropout(torch.ones(n, dtype=torch.float64), p).numpy()
    assert set(np.unique(ours)) == set(np.unique(theirs)) or np.allclose(
        np.unique(ours), np.unique(theirs)
    )
    spread = np.sqrt(p * (1 - p) / n)
    kept = {name: (y != 0).astype(float) for name, y in (("ours", ours), ("theirs", theirs))}
    for mask in kept.values():
        assert abs(mask.mean() - (1 - p)) < 4 * spread
        for lag in (1, 2, 64):
            correlation = np.corrcoef(mask[:-lag], mask[lag:])[0, 1]
            assert abs(correlation) < 4 / np.sqrt(n)


def attention(layer, mask=None):
    heads, qk, vo = layer.num_heads, layer.qk_size, layer.vo_size

    def project(own, name, x, size):
        y = F.linear(x, own[f".{name}.weight"], own.get(f".{name}.bias"))
        return y.reshape(len(x), heads, size).swapaxes(0, 1)

    def call(own, q, k, v):
        q, k = project(own, "query_proj", q, qk), project(own, "key_proj", k, qk)
        v = project(own, "value_proj", v, vo)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.swapaxes(0, 1).reshape(q.shape[1], heads * vo)
        return F.linear(y, own[".output_proj.weight"], own.get(".output_proj.bias"))

    return call


SIZES = [
    {},
    {"key_size": 3, "value_size": 5, "output_size": 6, "qk_size": 7, "vo_size": 2},
    {f"use_{name}_bias": True for name in ("query", "key", "value", "output")},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", SIZES)
@pytest.mark.parametrize("kind", ["none", "causal", "heads"])
def test_attention(agrees, draw, dtype, options, kind):
    layer = nn.MultiheadAttention(2, 4, dtype=dtype, key=KEY, **options)
    shape = (2, 5, 6) if kind == "heads" else (5, 6)
    mask = np.random.default_rng(0).random(shape) < 0.6
    mask[..., 0] = True  # PyTorch gives NaN where a query sees nothing
    mask = None if kind == "none" else np.tril(np.ones(shape, bool)) if kind == "causal" else mask
    given = [draw(5, 4, dtype=dtype)]
    given += [draw(6, size, dtype=dtype) for size in (layer.key_size, layer.value_size)]
    call = attention(layer, None if mask is None else torch.tensor(mask))
    agrees(layer, call, *given, mask=mask)


def test_attention_is_the_module_of_pytorch(draw):
    """The weights of `torch.nn.MultiheadAttention` are ours as they stand."""
    layer = nn.MultiheadAttention(2, 4, dtype="float64", key=KEY, **SIZES[2])
    theirs = torch.nn.MultiheadAttention(4, 2, dtype=torch.float64)
    tensor = lambda x: torch.tensor(np.asarray(x))  # noqa: E731
    projections = (layer.query_proj, layer.key_proj, layer.value_proj)
    state = {
        "in_proj_weight": torch.cat([tensor(p.weight) for p in projections]),
        "in_proj_bias": torch.cat([tensor(p.bias) for p in projections]),
        "out_proj.weight": tensor(layer.output_proj.weight),
        "out_proj.bias": tensor(layer.output_proj.bias),
    }
    theirs.load_state_dict(state)
    q, k, v = draw(3, 4), draw(6, 4), 2 * draw(6, 4)
    y, _ = theirs(tensor(q), tensor(k), tensor(v))
    np.testing.assert_allclose(layer(q, k, v), y.detach(), rtol=1e-9, atol=1e-12)


CELLS = list(itertools.product([(3, 4), (1, 1), (5, 2)], [True, False]))


# https://github.com/patrick-kidger/equinox/issues/1003
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "use_bias"), CELLS)
def test_gru_cell(agrees, draw, dtype, sizes, use_bias):
    """As documented: `bias` is its `bias_ih`, and `bias_n` the last third of its `bias_hh`."""
    layer = nn.GRUCell(*sizes, use_bias, dtype=dtype, key=KEY)

    def call(own, x, h):
        biases = ()
        if use_bias:
            zeros = torch.zeros(2 * sizes[1], dtype=own[".bias"].dtype)
            biases = (own[".bias"], torch.cat([zeros, own[".bias_n"]]))
        weights = own[".weight_ih"], own[".weight_hh"]
        return torch.gru_cell(x[None], h[None], *weights, *biases)[0]

    agrees(layer, call, draw(sizes[0], dtype=dtype), draw(sizes[1], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "use_bias"), CELLS)
def test_lstm_cell(agrees, draw, dtype, sizes, use_bias):
    layer = nn.LSTMCell(*sizes, use_bias, dtype=dtype, key=KEY)

    def call(own, x, state):
        biases = ()
        if use_bias:
            biases = (own[".bias"], torch.zeros_like(own[".bias"]))
        weights = own[".weight_ih"], own[".weight_hh"]
        state = [part[None] for part in state]
        return tuple(part[0] for part in torch.lstm_cell(x[None], state, *weights, *biases))

    h = draw(sizes[1], dtype=dtype)
    agrees(layer, call, draw(sizes[0], dtype=dtype), (h, 2 * h + 1))
