"""What layers of others are built from: attention of one head, and how parameters are drawn."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers as nn
from nn_layers import extend
from nn_layers.extend import (
    default_init,
    dot_product_attention,
    dot_product_attention_weights,
    ntuple,
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


def test_parameters_are_uniform():
    key = jax.random.key(0)
    expected = jax.random.uniform(key, (3, 4), jnp.float32, -0.5, 0.5)
    np.testing.assert_array_equal(default_init(key, (3, 4), jnp.float32, 0.5), expected)
    drawn = default_init(key, (3,), jnp.complex64, 0.5)
    for part, own in zip((drawn.real, drawn.imag), jax.random.split(key), strict=True):
        np.testing.assert_array_equal(part, jax.random.uniform(own, (3,), jnp.float32, -0.5, 0.5))


def test_parameters_are_those_of_a_layer():
    key = jax.random.key(3)
    linear = nn.Linear(4, 2, key=key)
    weight_key, bias_key = jax.random.split(key)
    np.testing.assert_array_equal(default_init(weight_key, (2, 4), "float32", 0.5), linear.weight)
    np.testing.assert_array_equal(default_init(bias_key, (2,), "float32", 0.5), linear.bias)


@pytest.mark.parametrize(
    ("n", "value", "expected"),
    [
        (2, 3, (3, 3)),
        (1, 3, (3,)),
        (2, [1, 2], (1, 2)),
        (2, range(2), (0, 1)),
        (2, ((1, 2), (3, 4)), ((1, 2), (3, 4))),
        (2, None, (None, None)),
    ],
)
def test_one_value_or_one_for_each_dimension(n, value, expected):
    assert ntuple(n)(value) == expected


@pytest.mark.parametrize("value", [(1, 2, 3), (1,), ()])
def test_another_number_of_values(value):
    with pytest.raises(ValueError, match=f"Expected one value or 2 of them, got {len(value)}"):
        ntuple(2)(value)


@pytest.mark.parametrize("name", extend.__all__)
def test_example(name):
    blocks = re.findall(r"```python\n(.*?)```", inspect.getdoc(getattr(extend, name)), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
