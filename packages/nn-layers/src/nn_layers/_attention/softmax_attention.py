"""Softmax attention of several heads, in chunks whose logits fit into the cache of a CPU.

All heads are computed at once while their logits are small; else head by head, and of each head
so many queries at a time. Then memory grows with the length of a sequence, not with its square.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from nn_layers._core.dtypes import at_least_float32

Drop = Callable[[Array, Any], Array]
"""Drops weights of one head, by a key."""

# Logits of so many bytes are computed at once. On a CPU all heads together leave the cache, and
# memory traffic is what takes the time; an accelerator needs enough work in each step of a loop.
_LOGIT_BYTES_AT_ONCE = {"cpu": 4 * 2**20}
_LOGIT_BYTES_AT_ONCE_ELSEWHERE = 256 * 2**20


class QKV(NamedTuple):
    """Queries, keys and values: `(length, num_heads, size)`, or of one head `(length, size)`."""

    q: Array
    k: Array
    v: Array


class LogitMask(NamedTuple):
    """What hides keys from queries: a mask, and a bias that is added to the logits.

    Each is `None`, or `(query_length, kv_length)`, for all heads with a leading axis of heads or
    without.
    """

    mask: Any
    bias: Any

    @property
    def head_axes(self) -> "LogitMask":
        """The axis of heads of each, for `jax.vmap`: 0, or `None` where there is none."""
        return LogitMask(*(None if x is None or x.ndim < 3 else 0 for x in self))


class WeightDropout(NamedTuple):
    """Dropout of the weights: a function, and a key for each head (or `None`)."""

    drop: Drop
    keys: Any


def attend(
    qkv: QKV, logit_mask: LogitMask, is_causal: bool, dropout: WeightDropout | None = None
) -> Array:
    """Attention of all heads.

    **Arguments:**

    - `qkv`: queries of shape `(query_length, num_heads, qk_size)`, keys of shape
        `(kv_length, num_kv_heads, qk_size)` and values of shape `(kv_length, num_kv_heads,
        vo_size)`.
    - `logit_mask`: mask and bias.
    - `is_causal`: whether query i sees keys 0 to i only.
    - `dropout`: what drops weights.

    **Returns:** an array of shape `(query_length, num_heads, vo_size)`.
    """
    limit = _LOGIT_BYTES_AT_ONCE.get(jax.default_backend(), _LOGIT_BYTES_AT_ONCE_ELSEWHERE)
    if dropout is None:
        return _attend_compiled(qkv, logit_mask, bool(is_causal), limit)
    return _attend(qkv, logit_mask, is_causal, limit, dropout)


# Compiled: JAX keeps what it traced, its derivative and its batched form, for all layers alike.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _attend_compiled(qkv: QKV, logit_mask: LogitMask, is_causal: bool, limit: int) -> Array:
    return _attend(qkv, logit_mask, is_causal, limit, None)


def _attend(
    qkv: QKV, logit_mask: LogitMask, is_causal: bool, limit: int, dropout: WeightDropout | None
) -> Array:
    """Attention of all heads, with logits of at most about `limit` bytes at once."""
    queries, heads = qkv.q.shape[:2]
    head_bytes: Any = queries * qkv.k.shape[0] * logit_bytes(qkv.q)
    # Sizes that are left open for export cannot be compared: then all is computed at once.
    if not isinstance(head_bytes, int) or heads * head_bytes <= limit or queries <= 1:
        return _attend_at_once(qkv, logit_mask, is_causal, dropout)
    # Random numbers are drawn for a whole head, so with dropout a head is one chunk.
    chunks = 1 if dropout is not None else min(queries, -(-head_bytes // limit))
    return _attend_in_chunks(qkv, logit_mask, is_causal, dropout, chunks)


def _attend_at_once(
    qkv: QKV, logit_mask: LogitMask, is_causal: bool, dropout: WeightDropout | None
) -> Array:
    """All heads in one `jax.vmap`; heads that share keys and values, in one within that."""
    drop, keys = (None, None) if dropout is None else dropout

    def one(qkv: QKV, logit_mask: LogitMask, key: Any) -> Array:
        return _attend_one_head(qkv, logit_mask, 0 if is_causal else None, drop, key)

    mask_axes, key_axis = logit_mask.head_axes, None if keys is None else 0
    (queries, heads), kv_heads = qkv.q.shape[:2], qkv.k.shape[1]
    if kv_heads == heads:
        return jax.vmap(one, (1, mask_axes, key_axis), 1)(qkv, logit_mask, keys)
    # The heads of a group share keys and values, without copies of these.
    group = (kv_heads, heads // kv_heads)
    q = qkv.q.reshape(queries, *group, qkv.q.shape[2])
    logit_mask = LogitMask(
        *(
            x if axis is None else x.reshape(*group, *x.shape[1:])
            for x, axis in zip(logit_mask, mask_axes, strict=True)
        )
    )
    keys = None if keys is None else keys.reshape(*group, *keys.shape[1:])
    in_group = jax.vmap(one, (QKV._make((1, None, None)), mask_axes, key_axis), 1)
    out = jax.vmap(in_group, (1, mask_axes, key_axis), 1)(QKV(q, qkv.k, qkv.v), logit_mask, keys)
    return out.reshape(queries, heads, qkv.v.shape[2])


def logit_bytes(x: Array) -> int:
    """How many bytes a logit takes."""
    return max(4, x.dtype.itemsize)


def _attend_one_head(
    qkv: QKV, logit_mask: LogitMask, first: Any, drop: Drop | None, key: Any
) -> Array:
    """Attention of one head; `first` is the position of the first query if attention is causal."""
    weights = attention_weights(qkv.q, qkv.k, logit_mask, first)
    if weights.dtype != qkv.v.dtype:
        weights = weights.astype(qkv.v.dtype)
    if drop is not None:
        weights = drop(weights, key)
    return lax.dot_general(weights, qkv.v, (((1,), (0,)), ((), ())))


def attention_weights(q: Array, k: Array, logit_mask: LogitMask, first: Any = None) -> Array:
    """How much each query of one head takes from each value, in float32 or wider.

    `first` is the position of the first query if attention is causal, else `None`.
    """
    mask, bias = logit_mask
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


def _attend_in_chunks(
    qkv: QKV,
    logit_mask: LogitMask,
    is_causal: bool,
    dropout: WeightDropout | None,
    chunks: int,
) -> Array:
    """Head by head, and in each so many queries at once.

    The logits of a chunk are computed again for the gradient (`jax.checkpoint`): kept, they would
    take the memory that the chunks save.
    """
    queries, heads = qkv.q.shape[:2]
    rows = -(-queries // chunks)
    starts = jnp.arange(chunks) * rows
    drop, keys = (None, None) if dropout is None else dropout

    def split(x: Any) -> Any:
        """The axis of queries in chunks; what is missing in the last is cut off afterwards."""
        if x is None:
            return None
        x = jnp.pad(x, [(0, chunks * rows - queries), *[(0, 0)] * (x.ndim - 1)])
        return x.reshape(chunks, rows, *x.shape[1:])

    def head(own: tuple[QKV, LogitMask, Any]) -> Array:
        (q, k, v), own_mask, key = own
        mask, bias = (
            every if one is None else one for one, every in zip(own_mask, logit_mask, strict=True)
        )

        @jax.checkpoint
        def chunk(own: Any) -> Array:
            q, own_mask, start = own
            first = start if is_causal else None
            return _attend_one_head(QKV(q, k, v), own_mask, first, drop, key)

        if chunks == 1:
            return chunk((q, LogitMask(mask, bias), 0))
        out = lax.map(chunk, (split(q), LogitMask(split(mask), split(bias)), starts))
        return out.reshape(chunks * rows, -1)[:queries]

    per_head = LogitMask(
        *(
            None if axis is None else x
            for x, axis in zip(logit_mask, logit_mask.head_axes, strict=True)
        )
    )
    heads_first = QKV(*(jnp.moveaxis(_repeat_heads(x, heads), 1, 0) for x in qkv))
    return jnp.moveaxis(lax.map(head, (heads_first, per_head, keys)), 0, 1)


def _repeat_heads(x: Array, heads: int) -> Array:
    """Keys or values with one head for each head of the queries."""
    return x if x.shape[1] == heads else jnp.repeat(x, heads // x.shape[1], axis=1)
