"""`MultiheadAttention` against NumPy in double precision."""

import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import (
    Linear,
    MultiheadAttention,
    ShapeError,
    inference_mode,
)
from nn_layers._attention import softmax_attention  # to make its pieces small
from pytree_module import Module
from tree_surgery import tree_at, tree_replace

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(8)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


SIZES = {"key_size": 3, "value_size": 5, "output_size": 6, "qk_size": 7, "vo_size": 8}
BIASES = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}


def apply(linear, x):
    y = np.asarray(x, np.float64) @ np.asarray(linear.weight, np.float64).T
    return y if linear.bias is None else y + np.asarray(linear.bias, np.float64)


def reference(layer, q, k, v, mask=None, bias=0.0, drop=None):
    heads = layer.num_heads
    qh, kh, vh = (
        np.moveaxis(apply(p, x).reshape(len(x), heads, -1), 1, 0)
        for p, x in ((layer.query_proj, q), (layer.key_proj, k), (layer.value_proj, v))
    )
    logits = qh @ np.moveaxis(kh, 1, 2) / np.sqrt(qh.shape[-1]) + bias
    if mask is not None:
        logits = np.where(mask, logits, -1e30)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    if drop is not None:
        weights = weights * drop
    return apply(layer.output_proj, np.moveaxis(weights @ vh, 0, 1).reshape(len(q), -1))


def inputs():
    keys = jr.split(KEY, 3)
    return jr.normal(keys[0], (3, 4)), jr.normal(keys[1], (6, 3)), jr.normal(keys[2], (6, 5))


def close(x, y, tolerance=1e-5):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def test_values():
    q, k, v = inputs()
    layer = MultiheadAttention(2, 4, **SIZES, **BIASES, key=KEY)
    mask = jr.bernoulli(KEY, 0.6, (2, 3, 6)).at[:, :, 0].set(True)
    bias = normal((2, 3, 6))
    causal = np.tril(np.ones((3, 6), bool))
    close(layer(q, k, v), reference(layer, q, k, v))
    close(layer(q, k, v, mask[0]), reference(layer, q, k, v, np.asarray(mask[0])))
    close(layer(q, k, v, mask), reference(layer, q, k, v, np.asarray(mask)))
    close(layer(q, k, v, is_causal=True), reference(layer, q, k, v, causal))
    both = np.asarray(mask) & causal
    close(layer(q, k, v, mask, is_causal=True), reference(layer, q, k, v, both))
    for b in (bias, bias[0]):
        close(layer(q, k, v, bias=b), reference(layer, q, k, v, None, np.asarray(b)))


def test_initial_parameters():
    layer = MultiheadAttention(2, 4, **SIZES, key=KEY)
    names = ("query_proj", "key_proj", "value_proj", "output_proj")
    for name, sizes, key in zip(
        names, ((4, 14), (3, 14), (5, 16), (16, 6)), jr.split(KEY, 4), strict=True
    ):
        expected = Linear(*sizes, use_bias=False, key=key)
        np.testing.assert_array_equal(getattr(layer, name).weight, expected.weight)
        assert getattr(layer, name).bias is None
    plain = MultiheadAttention(2, 5, key=KEY)
    assert (plain.key_size, plain.value_size, plain.output_size) == (5, 5, 5)
    assert (plain.qk_size, plain.vo_size) == (2, 2)


def test_gradient():
    q, k, v = inputs()
    layer = MultiheadAttention(2, 4, **SIZES, key=KEY)
    gradient = jax.grad(lambda q: (layer(q, k, v, is_causal=True) ** 2).sum())(q)
    mask, wide = np.tril(np.ones((3, 6), bool)), np.asarray(q, np.float64)
    f = lambda q: (reference(layer, q, k, v, mask) ** 2).sum()  # noqa: E731
    steps = 1e-6 * np.eye(12).reshape(12, 3, 4)
    numeric = [(f(wide + e) - f(wide - e)) / 2e-6 for e in steps]
    close(gradient.ravel(), numeric, 1e-3)


# https://github.com/patrick-kidger/equinox/pull/155
# https://github.com/patrick-kidger/equinox/commit/bdc28d6
def test_dropout_and_its_flags():
    q, k, v = inputs()
    layer = MultiheadAttention(2, 4, **SIZES, dropout_p=0.4, key=KEY)
    keep = np.stack([jr.bernoulli(key, 0.6, (3, 6)) for key in jr.split(KEY, 2)]) / 0.6
    close(layer(q, k, v, key=KEY), reference(layer, q, k, v, drop=keep))
    expected = reference(layer, q, k, v)
    close(layer(q, k, v, inference=True), expected)
    close(inference_mode(layer)(q, k, v), expected)
    close(inference_mode(layer)(q, k, v, key=KEY, inference=False), layer(q, k, v, key=KEY))
    with pytest.warns(UserWarning, match="`inference`"):
        close(layer(q, k, v, deterministic=True), expected)
    with pytest.raises(RuntimeError, match="requires a key"):
        layer(q, k, v)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_query_that_sees_nothing_is_finite(dtype):
    layer = MultiheadAttention(2, 4, dtype=dtype, key=KEY)
    x = inputs()[0].astype(dtype)
    mask = jnp.ones((3, 3), bool).at[1].set(False)
    y, back = jax.vjp(lambda x: layer(x, x, x, mask), x)
    (gradient,) = back(jnp.ones_like(y))
    assert y.dtype == gradient.dtype == dtype
    assert np.isfinite(np.asarray(y, np.float32)).all()
    assert np.isfinite(np.asarray(gradient, np.float32)).all()
    mean = apply(layer.output_proj, apply(layer.value_proj, x).mean(0))
    close(np.asarray(y[1], np.float64), mean, 4 * float(jnp.finfo(dtype).eps) + 1e-6)


def test_heads_are_processed():
    q, k, v = inputs()
    layer = MultiheadAttention(2, 4, **SIZES, key=KEY)
    shapes = []

    def double(*heads):
        shapes.extend(x.shape for x in heads)
        return heads[0], heads[1], 2 * heads[2]

    close(layer(q, k, v, process_heads=double), 2 * layer(q, k, v))
    assert shapes == [(3, 2, 7), (6, 2, 7), (6, 2, 8)]
    with pytest.raises(ShapeError, match="must not change the shape of the heads"):
        layer(q, k, v, process_heads=lambda q, k, v: (q[:2], k, v))


def test_shapes_that_do_not_fit():
    q, k, v = inputs()
    layer = MultiheadAttention(2, 4, **SIZES, key=KEY)
    for arguments, message in (
        ((q[None], k, v), r"\(query_length, query_size=4\).*jax.vmap"),
        ((q, k[:, :2], v), r"\(key_length, key_size=3\), but received one of shape \(6, 2\)"),
        ((q, k, v[:3]), "keys and values of equal length"),
        ((q, k, v, jnp.ones((6, 3), bool)), r"`mask` must be of shape .*\(3, 6\)"),
        ((q, k, v, jnp.ones((1, 3, 6), bool)), r"\(2, 3, 6\), but received .*\(1, 3, 6\)"),
    ):
        for call in (layer, jax.jit(lambda *xs: layer(*xs))):
            with pytest.raises(ShapeError, match=message):
                call(*arguments)
    with pytest.raises(ShapeError, match="`bias` must be"):
        layer(q, k, v, bias=jnp.ones(6))
    with pytest.raises(ValueError, match="`num_heads` must be at least 1"):
        MultiheadAttention(0, 4, key=KEY)


def grouped(layer, q, k, v, **rest):
    """With keys and values repeated for each head, in NumPy."""
    times = layer.num_heads // layer.num_kv_heads

    def repeated(linear):
        rows = np.asarray(linear.weight).reshape(layer.num_kv_heads, -1, linear.weight.shape[1])
        weight = np.repeat(rows, times, axis=0).reshape(-1, linear.weight.shape[1])
        full = Linear(weight.shape[1], weight.shape[0], use_bias=False, key=KEY)
        return tree_at(lambda n: n.weight, full, jnp.asarray(weight))

    full = tree_replace(
        layer, key_proj=repeated(layer.key_proj), value_proj=repeated(layer.value_proj)
    )
    return reference(full, q, k, v, **rest)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_heads_that_share_keys_and_values(kv_heads):
    q, k, v = inputs()
    sizes = {"key_size": 3, "value_size": 5, "qk_size": 2, "vo_size": 3}
    layer = MultiheadAttention(4, 4, **sizes, num_kv_heads=kv_heads, key=KEY)
    assert layer.num_kv_heads == kv_heads
    assert layer.key_proj.weight.shape == (2 * kv_heads, 3)
    assert layer.value_proj.weight.shape == (3 * kv_heads, 5)
    mask = jr.bernoulli(KEY, 0.6, (4, 3, 6)).at[:, :, 0].set(True)
    bias = jr.normal(KEY, (4, 3, 6))
    close(layer(q, k, v), grouped(layer, q, k, v))
    close(
        layer(q, k, v, mask, bias=bias[0]),
        grouped(layer, q, k, v, mask=np.asarray(mask), bias=np.asarray(bias[0])),
    )
    close(
        layer(q, k, v, mask[0], bias=bias),
        grouped(layer, q, k, v, mask=np.asarray(mask[0]), bias=np.asarray(bias)),
    )
    drop = MultiheadAttention(4, 4, **sizes, dropout_p=0.4, num_kv_heads=kv_heads, key=KEY)
    keep = np.stack([jr.bernoulli(key, 0.6, (3, 6)) for key in jr.split(KEY, 4)]) / 0.6
    close(drop(q, k, v, key=KEY), grouped(drop, q, k, v, drop=keep))
    with pytest.raises(ValueError, match="multiple of `num_kv_heads`, got 4 and 3"):
        MultiheadAttention(4, 4, num_kv_heads=3, key=KEY)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_the_implementation_of_jax(kv_heads, causal):
    x = inputs()[0]
    layer = MultiheadAttention(4, 4, num_kv_heads=kv_heads, key=KEY)
    mask = jr.bernoulli(KEY, 0.6, (4, 3, 3)).at[:, :, 0].set(True)
    for more in ({}, {"mask": mask}, {"mask": mask[0], "bias": jr.normal(KEY, (3, 3))}):
        named = {"is_causal": causal, **more}
        close(layer(x, x, x, implementation="xla", **named), layer(x, x, x, **named))
    with pytest.raises(ValueError, match="'auto', 'xla' or 'cudnn', got 'flash'"):
        layer(x, x, x, implementation="flash")
    drop = MultiheadAttention(4, 4, dropout_p=0.5, key=KEY)
    with pytest.raises(ValueError, match="'xla'.*has no dropout"):
        drop(x, x, x, key=KEY, implementation="xla")
    close(drop(x, x, x, implementation="xla", inference=True), drop(x, x, x, inference=True))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_implementation_of_jax_in_half_precision(dtype):
    """It promotes implicitly, which is strictly forbidden here; one query sees no key."""
    layer = MultiheadAttention(2, 4, dtype=dtype, key=KEY)
    x, mask = inputs()[0].astype(dtype), jnp.ones((3, 3), bool).at[1].set(False)
    y, expected = (layer(x, x, x, mask, implementation=name) for name in ("xla", "auto"))
    assert y.dtype == dtype
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    close(y.astype("f4"), expected.astype("f4"), tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("drop", [False, True])
def test_in_pieces_it_is_the_same(monkeypatch, drop, dtype):
    x = jr.normal(KEY, (11, 4)).astype(dtype)
    named = {"num_kv_heads": 2, "dtype": dtype, "dropout_p": 0.3 * drop}
    layer = MultiheadAttention(4, 4, **named, key=KEY)
    mask = jr.bernoulli(KEY, 0.6, (4, 11, 11)).at[:, 3].set(False)
    bias = jr.normal(KEY, (11, 11))
    key = KEY if drop else None

    @functools.partial(jax.jit, static_argnames="limit")
    def run(x, limit):  # one program for each limit, which compiles sooner than its operations
        def f(x):
            ys = [
                layer(x, x, x, mask, bias=bias, key=key),
                layer(x, x, x, mask[0], is_causal=True, key=key),
            ]
            return sum((y.astype(jnp.float32) ** 2).sum() for y in ys), ys

        return jax.value_and_grad(f, has_aux=True)(x)

    whole = run(x, None)
    for limit in (11 * 4 * 4, 5 * 11 * 4, 11 * 11 * 4):  # rows of 4, of 5, all of one head
        monkeypatch.setattr(softmax_attention, "_LOGIT_BYTES_AT_ONCE", {"cpu": limit})
        traced = run.trace(x, limit)
        assert "scan[" in str(traced.jaxpr)
        pieces = run(x, limit)
        assert all(np.isfinite(np.asarray(a, np.float32)).all() for a in jax.tree.leaves(pieces))
        tolerance = 3e-2 if dtype == jnp.bfloat16 else 1e-4
        for a, b in zip(jax.tree.leaves(pieces), jax.tree.leaves(whole), strict=True):
            close(np.asarray(a, np.float32), np.asarray(b, np.float32), tolerance)


def test_memory_grows_with_the_length_not_its_square():
    layer = MultiheadAttention(8, 16, key=KEY)

    def temporary(length):
        x = jax.ShapeDtypeStruct((length, 16), jnp.float32)
        program = jax.jit(jax.grad(lambda x: layer(x, x, x).sum())).lower(x).compile()
        return program.memory_analysis().temp_size_in_bytes

    # All logits would be 8 * 4096**2 * 4 = 537 MB.
    assert temporary(4096) < 40e6


def test_projections_of_another_class():
    class Adapted(Module):
        linear: Linear
        down: jax.Array
        up: jax.Array

        def __call__(self, x, *, key=None):
            return self.linear(x) + self.up @ (self.down @ x)

    x = inputs()[0]
    layer = MultiheadAttention(4, 4, num_kv_heads=2, key=KEY)
    down, up = jr.normal(KEY, (1, 4)), jr.normal(KEY, (2, 1))
    adapted = tree_at(lambda n: n.key_proj, layer, Adapted(layer.key_proj, down, up))
    merged = tree_at(lambda n: n.key_proj.weight, layer, layer.key_proj.weight + up @ down)
    close(adapted(x, x, x), merged(x, x, x))


@pytest.mark.parametrize("implementation", ["auto", "xla"])
def test_a_bias_of_minus_infinity_is_a_mask(implementation):
    attention = MultiheadAttention(2, 4, num_kv_heads=1, key=KEY)
    x = normal((3, 4))
    mask = np.array([[True, False, True], [False, False, False], [True, True, True]])
    bias = jnp.where(mask, 0.0, -jnp.inf)

    def loss(x, bias, **named):
        return jnp.sum(
            jnp.sin(attention(x, x, x, bias=bias, implementation=implementation, **named))
        )

    value, gradients = jax.value_and_grad(loss, (0, 1))(x, bias)
    expected, others = jax.value_and_grad(loss, (0, 1))(x, jnp.zeros((3, 3)), mask=mask)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradients[0], others[0], atol=1e-6)
    assert np.all(np.isfinite(gradients[1])) and not np.any(np.asarray(gradients[1])[~mask])


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("lengths", [(0, 0), (0, 2), (3, 0)])
def test_sequences_may_be_empty(lengths, kv_heads):
    attention = MultiheadAttention(2, 4, num_kv_heads=kv_heads, use_output_bias=True, key=KEY)
    query, other = (jnp.ones((length, 4)) for length in lengths)
    y = attention(query, other, other)
    expected = np.broadcast_to(attention.output_proj.bias, (lengths[0], 4))
    np.testing.assert_array_equal(y, expected)  # nothing to look up: the bias alone


def test_complex_numbers_may_have_masks_and_biases():
    attention = MultiheadAttention(1, 2, dtype=jnp.complex64, key=KEY)
    x = jnp.asarray(normal((3, 2)) + 1j * normal((3, 2))[::-1])
    causal = jnp.tril(jnp.ones((3, 3), bool))
    y = attention(x, x, x, is_causal=True)
    np.testing.assert_allclose(attention(x, x, x, mask=causal), y, atol=1e-6)
    hidden = jnp.where(causal, 0.0, -jnp.inf)
    np.testing.assert_allclose(attention(x, x, x, bias=hidden), y, atol=1e-6)
    np.testing.assert_allclose(y[0], attention(x[:1], x[:1], x[:1])[0], atol=1e-6)
