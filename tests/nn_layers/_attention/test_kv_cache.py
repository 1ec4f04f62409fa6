"""A sequence that grows, by a cache, against the whole sequence at once."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, filter_vmap
from nn_layers import KVCache, MultiheadAttention, RotaryPositionalEmbedding, ShapeError, Stacked
from pytree_module import Module
from tree_surgery import tree_equal

pytestmark = pytest.mark.heavy

KEY = jr.key(0)
LENGTH = 7
X = jnp.asarray(np.random.default_rng(0).normal(size=(LENGTH, 8)).astype("f4"))
CHUNKS = {"one by one": [1] * 7, "all at once": [7], "a prompt first": [4, 1, 2]}


def attention(num_kv_heads=None, **kwargs):
    return MultiheadAttention(4, 8, 6, 5, num_kv_heads=num_kv_heads, key=KEY, **kwargs)


def turned(offset):
    rope = RotaryPositionalEmbedding(2)
    each = jax.vmap(lambda x: rope(x, offset=offset), 1, 1)
    return lambda q, k, v: (each(q), each(k), v)


def grown(layer, cache, chunks, call, **rows):
    """The outputs of all chunks, each with its own rows of what is in `rows`."""
    out, start = [], 0
    for n in chunks:
        own = slice(start, start + n)
        given = {name: x[..., own, :] for name, x in rows.items()}
        y, cache = call(layer, X[own], cache, given)
        out.append(y)
        start += n
    return jnp.concatenate(out), cache


def causal(layer, x, cache, given):
    """Keys and values are of other sizes than queries, as they may be."""
    process = turned(cache.length)
    y = layer(
        x, x[:, :6], x[:, :5], cache=cache, is_causal=True, process_heads=process, **given
    )  # fmt: skip
    return y


def whole(layer, **kwargs):
    process = turned(0)
    return layer(X, X[:, :6], X[:, :5], is_causal=True, process_heads=process, **kwargs)


compiled = filter_jit(causal)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("name", CHUNKS)
def test_what_grows_is_the_whole(name, kv_heads):
    layer = attention(kv_heads)
    expected = whole(layer)
    empty = layer.init_cache(10)
    assert empty.keys.shape == empty.values.shape == (kv_heads, 10, 2)
    for call in (causal, compiled) if kv_heads == 2 else (compiled,):
        y, cache = grown(layer, empty, CHUNKS[name], call)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        assert cache.length == LENGTH and empty.length == 0
        assert not cache.keys[:, LENGTH:].any()


def test_masks_and_biases_are_of_all_places():
    layer = attention()
    rng = np.random.default_rng(1)
    mask = jnp.asarray(rng.random((4, LENGTH, LENGTH)) < 0.7)
    bias = jnp.asarray(rng.normal(size=(LENGTH, LENGTH)).astype("f4"))
    expected = whole(layer, mask=mask, bias=bias)
    # What is said of places that are still empty does not count.
    wider = jnp.pad(mask, ((0, 0), (0, 0), (0, 2)), constant_values=True)
    biased = jnp.pad(bias, ((0, 0), (0, 2)), constant_values=100.0)
    empty = layer.init_cache(9)
    y, _ = grown(layer, empty, [4, 1, 2], compiled, mask=wider, bias=biased)
    # A row that sees nothing takes the mean of all places, also of the empty ones.
    sees = np.asarray((mask & np.tri(LENGTH, dtype=bool)[None]).any(-1).all(0))
    assert sees.sum() >= 4
    np.testing.assert_allclose(y[sees], expected[sees], rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"\(query_length, kv_length\) = \(7, 9\)"):
        layer(X, X[:, :6], X[:, :5], mask[0], cache=empty)


def test_without_causality_all_that_is_there_is_seen():
    layer = attention(2)
    cache = layer.init_cache(9)
    _, cache = layer(X[:4], X[:4, :6], X[:4, :5], cache=cache)
    y, cache = layer(X[4:], X[4:, :6], X[4:, :5], cache=cache)
    expected = layer(X[4:], X[:, :6], X[:, :5])
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    other, _ = layer(X[:2], X[:0, :6], X[:0, :5], cache=cache, implementation="xla")
    np.testing.assert_allclose(other, layer(X[:2], X[:, :6], X[:, :5]), rtol=1e-5, atol=1e-6)


def test_a_scan_over_a_batch_and_its_gradient():
    layer = attention(2)
    batch = jnp.stack([X, X[::-1]])

    def one(layer, xs):
        def step(cache, x):
            y, cache = causal(layer, x[None], cache, {})
            return cache, y[0]

        return jax.lax.scan(step, layer.init_cache(LENGTH), xs)[1]

    np.testing.assert_allclose(
        filter_vmap(one, in_axes=(None, 0))(layer, batch)[0], whole(layer), rtol=1e-5, atol=1e-6
    )
    grown = filter_jit(filter_grad(lambda layer: (one(layer, X) ** 2).sum()))(layer)
    at_once = filter_jit(filter_grad(lambda layer: (whole(layer) ** 2).sum()))(layer)
    assert tree_equal(grown, at_once, rtol=1e-3, atol=1e-4)


def test_caches_of_a_batch():
    layer = attention(2)
    caches = jax.vmap(lambda _: layer.init_cache(LENGTH))(jnp.arange(2))
    batch = jnp.stack([X, X[::-1]])
    run = filter_vmap(causal, in_axes=(None, 0, 0, None))
    first, caches = run(layer, batch[:, :3], caches, {})
    rest, caches = run(layer, batch[:, 3:], caches, {})
    assert caches.length.tolist() == [LENGTH] * 2
    np.testing.assert_allclose(
        jnp.concatenate([first, rest], 1)[0], whole(layer), rtol=1e-5, atol=1e-6
    )


class Block(Module):
    attention: MultiheadAttention

    def __init__(self, key):
        self.attention = MultiheadAttention(2, 8, key=key)

    def __call__(self, x, cache=None):
        y = self.attention(x, x, x, is_causal=True, cache=cache)
        return x + y if cache is None else (x + y[0], y[1])


def test_each_layer_of_a_stack_has_its_own():
    stacked = Stacked(Block, 3, key=KEY)
    caches = filter_vmap(lambda layer: layer.attention.init_cache(LENGTH))(stacked.layers)
    out = []
    for n in range(LENGTH):
        y, caches = stacked(X[n : n + 1], each={"cache": caches}, collect=True)
        out.append(y)
    np.testing.assert_allclose(jnp.concatenate(out), stacked(X), rtol=1e-4, atol=1e-5)


def test_a_cache_of_another_dtype():
    layer = attention()
    cache = layer.init_cache(LENGTH, jnp.bfloat16)
    y, cache = grown(layer, cache, [4, 3], causal)
    assert cache.keys.dtype == cache.values.dtype == jnp.bfloat16 and y.dtype == jnp.float32
    np.testing.assert_allclose(y, whole(layer), rtol=2e-2, atol=2e-2)
    assert attention(dtype=jnp.float16).init_cache(3).keys.dtype == jnp.float16


def test_a_cache_that_is_too_short():
    layer = attention()
    _, cache = causal(layer, X[:4], layer.init_cache(6), {})
    with pytest.raises(ValueError, match=r"`max_length` of 6 has no room for 3 more than the 4"):
        causal(layer, X[4:], cache, {})
    with pytest.raises(ValueError, match="no room for 7 more"):  # also known while traced
        compiled(layer, X, cache, {})
    y, full = compiled(layer, X[4:6], cache, {})
    assert jnp.isfinite(y).all()
    y, over = compiled(layer, X[6:], full, {})
    assert jnp.isnan(y).all() and over.length == 7  # nothing wrong looks right


def test_what_is_no_cache_of_this_layer():
    layer = attention()
    with pytest.raises(TypeError, match="`cache` must be a `KVCache`, .* got a tuple"):
        layer(X, X[:, :6], X[:, :5], cache=())
    for other in (attention(2), MultiheadAttention(4, 8, qk_size=3, key=KEY)):
        with pytest.raises(ShapeError, match=r"keys and values of shapes \(4, 9, 2\).*init_cache"):
            causal(layer, X, other.init_cache(9), {})
    batch = jax.vmap(lambda _: layer.init_cache(9))(jnp.arange(2))
    with pytest.raises(ShapeError, match=r"\(2, 4, 9, 2\).*jax.vmap"):
        layer(X, X[:, :6], X[:, :5], cache=batch)
    with pytest.raises(TypeError, match="`KVCache`: `max_length` must be an integer"):
        layer.init_cache(2.5)
    assert tree_equal(KVCache(3, 4, 2, 2), layer.init_cache(3))


def test_where_the_caches_of_a_stack_go():
    class Block(MultiheadAttention):
        def __call__(self, x, cache=None, *, key=None):
            return super().__call__(x, x, x, cache=cache)

    stacked, x = Stacked(lambda key: Block(2, 4, key=key), 3, key=KEY), jnp.ones((2, 4))
    caches = filter_vmap(lambda layer: layer.init_cache(5))(stacked.layers)
    with pytest.raises(
        TypeError, match=r"KVCache.*`each=\{'cache': caches\}`, with `collect=True`"
    ):
        stacked(x, caches)
    y, new = stacked(x, each={"cache": caches}, collect=True)
    assert new.length.tolist() == [2, 2, 2]
    expected = x
    for layer in stacked:
        expected = layer(expected)
    assert jnp.allclose(y, expected, atol=1e-6)
