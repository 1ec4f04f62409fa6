"""Attention of one head against NumPy, and against the layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers as nn
from nn_layers.extend import (
    dot_product_attention,
    dot_product_attention_weights,
)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def in_numpy(q, k, mask=None):
    """Softmax of q kᵀ / √d in float64; a query that may see no key sees all alike."""
    logits = q.astype("float64") @ k.astype("float64").T / np.sqrt(q.shape[1])
    if mask is not None:
        logits = np.where(mask, logits, -1e30)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("masked", ["no mask", "causal", "a query that sees nothing"])
@pytest.mark.parametrize("compiled", [False, True])
def test_attention_of_one_head(masked, compiled):
    q, k, v = drawn(4, 8), drawn(5, 8, seed=1), drawn(5, 3, seed=2)
    mask = None if masked == "no mask" else np.tril(np.ones((4, 5), bool))
    if masked == "a query that sees nothing":
        mask[2] = False
    expected = in_numpy(q, k, mask)
    weights, attend = dot_product_attention_weights, dot_product_attention
    if compiled:
        weights, attend = jax.jit(weights), jax.jit(attend)
    np.testing.assert_allclose(weights(q, k, mask), expected, atol=1e-6)
    np.testing.assert_allclose(attend(q, k, v, mask), expected @ v, atol=1e-5)


def test_gradient_of_one_head():
    q, k, v = drawn(2, 4), drawn(3, 4, seed=1), drawn(3, 2, seed=2)
    slope = jax.grad(lambda q: dot_product_attention(q, k, v).sum())(q)
    numeric = np.zeros_like(q)
    for index in np.ndindex(q.shape):
        step = np.zeros_like(q, "float64")
        step[index] = 1e-4
        numeric[index] = ((in_numpy(q + step, k) - in_numpy(q - step, k)) @ v).sum() / 2e-4
    np.testing.assert_allclose(slope, numeric, atol=1e-4)


def test_heads_by_vmap_are_the_layer():
    x = drawn(6, 8)
    layer = nn.MultiheadAttention(2, 8, key=jax.random.key(0))
    q, k, v = (
        jax.vmap(projection)(x).reshape(6, 2, 4)
        for projection in (layer.query_proj, layer.key_proj, layer.value_proj)
    )
    heads = jax.vmap(dot_product_attention, in_axes=1, out_axes=1)(q, k, v)
    expected = jax.vmap(layer.output_proj)(heads.reshape(6, 8))
    np.testing.assert_allclose(layer(x, x, x), expected, atol=1e-6)


def test_dropout_is_of_the_weights():
    q, k, v, key = drawn(4, 8), drawn(5, 8, seed=1), drawn(5, 3, seed=2), jax.random.key(0)
    dropout = nn.Dropout(0.5)
    expected = dropout(dot_product_attention_weights(q, k), key=key) @ v
    np.testing.assert_allclose(
        dot_product_attention(q, k, v, None, dropout, key=key), expected, atol=1e-6
    )
    plain = dot_product_attention(q, k, v, None, dropout, inference=True)
    np.testing.assert_allclose(plain, in_numpy(q, k) @ v, atol=1e-5)
    with pytest.raises(RuntimeError, match="requires a key"):
        dot_product_attention(q, k, v, None, dropout)


def test_dtype_is_that_of_the_input():
    q, k, v = (jnp.asarray(drawn(4, 8, seed=i), jnp.float16) for i in range(3))
    assert dot_product_attention_weights(q, k).dtype == jnp.float16
    y = dot_product_attention(q, k, v)
    assert y.dtype == jnp.float16
    q, k, v = (np.asarray(x, "float32") for x in (q, k, v))
    np.testing.assert_allclose(np.asarray(y, "float32"), in_numpy(q, k) @ v, atol=4e-3)


@pytest.mark.parametrize(
    "shapes",
    [((2, 4, 8), (4, 8), (4, 8)), ((4, 8), (4, 7), (4, 8)), ((4, 8), (5, 8), (4, 8)), ((8,),) * 3],
)
def test_shapes_that_do_not_fit(shapes):
    with pytest.raises(nn.ShapeError, match=r"`dot_product_attention` takes queries of shape"):
        dot_product_attention(*map(jnp.ones, shapes))


def test_a_mask_of_another_shape():
    q = jnp.ones((4, 8))
    with pytest.raises(nn.ShapeError, match=r"\(query_length, kv_length\) = \(4, 4\)"):
        dot_product_attention_weights(q, q, jnp.ones((3, 4), bool))
