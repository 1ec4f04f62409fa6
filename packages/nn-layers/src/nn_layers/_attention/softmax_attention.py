"""Softmax attention of several heads, in pieces that fit into the cache."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from nn_layers._core.dtypes import at_least_float32

Drop = Callable[[Array, Any], Array]

# Logits of so many bytes are computed at once. On a CPU all heads together leave the cache, and
# memory is what time goes to; an accelerator is to have enough work in each step of a loop.
_AT_ONCE = {"cpu": 4 * 2**20}
_AT_ONCE_ELSEWHERE = 256 * 2**20


def attend(
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    bias: Any,
    is_causal: bool,
    drop: Drop | None,
    keys: Any,
) -> Array:
    """Attention of all heads.

    **Arguments:**

    - `q`: of shape `(query_length, num_heads, qk_size)`.
    - `k`: of shape `(kv_length, num_kv_heads, qk_size)`.
    - `v`: of shape `(kv_length, num_kv_heads, vo_size)`.
    - `mask`, `bias`: of shape `(query_length, kv_length)`, with a leading axis of heads or without,
        or `None`.
    - `is_causal`: whether query i sees keys 0 to i only.
    - `drop`: what drops weights of one head by a key, or `None`.
    - `keys`: one key for each head, or `None`.

    **Returns:** an array of shape `(query_length, num_heads, vo_size)`.
    """
    limit = _AT_ONCE.get(jax.default_backend(), _AT_ONCE_ELSEWHERE)
    if drop is None:
        return _attend_compiled(q, k, v, mask, bias, bool(is_causal), limit)
    return _attend(q, k, v, mask, bias, is_causal, limit, drop, keys)


# Compiled: JAX keeps what it traced, its derivative and its batched form, for all layers alike.
@functools.partial(jax.jit, static_argnums=(5, 6))
def _attend_compiled(
    q: Array, k: Array, v: Array, mask: Any, bias: Any, is_causal: bool, limit: int
) -> Array:
    return _attend(q, k, v, mask, bias, is_causal, limit, None, None)


def _attend(
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    bias: Any,
    is_causal: bool,
    limit: int,
    drop: Drop | None,
    keys: Any,
) -> Array:
    queries, heads = q.shape[:2]
    each: Any = queries * k.shape[0] * exact_size(q)
    # Sizes that are left open for export cannot be compared: then all is computed at once.
    if isinstance(each, int) and heads * each > limit and queries > 1:
        # Random numbers are drawn for a head at once, whatever the pieces.
        pieces = 1 if drop is not None else min(queries, -(-each // limit))
        return _in_pieces(q, k, v, mask, bias, is_causal, drop, keys, pieces)

    def one(q: Array, k: Array, v: Array, mask: Any, bias: Any, key: Any) -> Array:
        return _one_head(q, k, v, mask, bias, 0 if is_causal else None, drop, key)

    own = [0 if x is not None and x.ndim == 3 else None for x in (mask, bias)]
    key_axis = None if keys is None else 0
    kv_heads = k.shape[1]
    if kv_heads == heads:
        return jax.vmap(one, (1, 1, 1, *own, key_axis), 1)(q, k, v, mask, bias, keys)
    # The heads of a group share keys and values, without copies of these.
    group = (kv_heads, heads // kv_heads)
    q = q.reshape(queries, *group, q.shape[2])
    mask, bias = (
        x if axis is None else x.reshape(*group, *x.shape[1:])
        for x, axis in zip((mask, bias), own, strict=True)
    )
    keys = None if keys is None else keys.reshape(*group, *keys.shape[1:])
    inner = jax.vmap(one, (1, None, None, *own, key_axis), 1)
    outer = jax.vmap(inner, (1, 1, 1, *own, key_axis), 1)
    return outer(q, k, v, mask, bias, keys).reshape(queries, heads, v.shape[2])


def exact_size(x: Array) -> int:
    """How many bytes a logit takes."""
    return max(4, x.dtype.itemsize)


def _one_head(
    q: Array, k: Array, v: Array, mask: Any, bias: Any, first: Any, drop: Any, key: Any
) -> Array:
    """Attention of one head; `first` is the position of the first query if attention is causal."""
    weights = attention_weights(q, k, mask, bias, first)
    if weights.dtype != v.dtype:
        weights = weights.astype(v.dtype)
    if drop is not None:
        weights = drop(weights, key)
    return lax.dot_general(weights, v, (((1,), (0,)), ((), ())))


def attention_weights(q: Array, k: Array, mask: Any, bias: Any, first: Any) -> Array:
    """How much each query of one head takes from each value, in float32 or wider."""
    contract = (((1,), (1,)), ((), ()))
    scale = np.asarray(math.sqrt(q.shape[-1]), q.dtype)
    logits = at_least_float32(
        lax.dot_general(lax.div(q, lax.broadcast(scale, q.shape)), k, contract)
    )
    # Not minus infinity: a row without a key would be NaN. Of their dtype, which may be complex.
    least = np.asarray(jnp.finfo(logits.dtype).min, logits.dtype)[()]
    if bias is not None:
        # A bias may be minus infinity, where others have a mask.
        logits = jnp.maximum(logits + bias.astype(logits.dtype), least)
    if mask is not None:
        logits = jnp.where(mask, logits, least)
    if first is not None:
        rows = lax.broadcasted_iota(jnp.int32, logits.shape, 0) + first
        logits = jnp.where(rows >= lax.broadcasted_iota(jnp.int32, logits.shape, 1), logits, least)
    return jax.nn.softmax(logits, axis=-1)


def _in_pieces(
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    bias: Any,
    is_causal: bool,
    drop: Drop | None,
    keys: Any,
    pieces: int,
) -> Array:
    """Head by head, and in each so many queries at once; logits are computed again to go back."""
    queries, heads = q.shape[:2]
    rows = -(-queries // pieces)
    starts = jnp.arange(pieces) * rows
    k, v = (
        jnp.repeat(x, heads // x.shape[1], axis=1) if x.shape[1] != heads else x for x in (k, v)
    )

    def split(x: Any) -> Any:
        """The axis of queries in pieces; what is missing in the last is cut off afterwards."""
        if x is None:
            return None
        x = jnp.pad(x, [(0, pieces * rows - queries), *[(0, 0)] * (x.ndim - 1)])
        return x.reshape(pieces, rows, *x.shape[1:])

    def head(own: Any) -> Array:
        q, k, v, head_mask, head_bias, key = own
        head_mask = mask if head_mask is None else head_mask
        head_bias = bias if head_bias is None else head_bias

        @jax.checkpoint
        def piece(own: Any) -> Array:
            q, mask, bias, start = own
            return _one_head(q, k, v, mask, bias, start if is_causal else None, drop, key)

        if pieces == 1:
            return piece((q, head_mask, head_bias, 0))
        out = lax.map(piece, (split(q), split(head_mask), split(head_bias), starts))
        return out.reshape(pieces * rows, -1)[:queries]

    first = lambda x: jnp.moveaxis(x, 1, 0)  # noqa: E731
    per_head = [x if x is not None and x.ndim == 3 else None for x in (mask, bias)]
    return jnp.moveaxis(lax.map(head, (first(q), first(k), first(v), *per_head, keys)), 0, 1)
