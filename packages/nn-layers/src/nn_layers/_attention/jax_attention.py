"""Attention by `jax.nn.dot_product_attention`: the implementations "xla" and "cudnn"."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .softmax_attention import QKV, LogitMask, WeightDropout


def check_implementation(implementation: Any, dropout: WeightDropout | None) -> None:
    """Refuses an implementation that JAX does not have, and dropout, which JAX's do not have."""
    if implementation not in ("xla", "cudnn"):
        raise ValueError(
            f"`MultiheadAttention`: `implementation` must be 'auto', 'xla' or 'cudnn', got "
            f"{implementation!r}."
        )
    if dropout is not None:
        raise ValueError(
            f"`MultiheadAttention`: `implementation={implementation!r}` has no dropout. Use "
            f"'auto', or `dropout_p=0`, or inference mode."
        )


def attend_by_jax(implementation: Any, qkv: QKV, logit_mask: LogitMask, is_causal: bool) -> Array:
    """Attention of all heads, as `attend` of `softmax_attention`."""
    mask, bias = (x if x is None or x.ndim == 3 else x[None] for x in logit_mask)
    if bias is not None:
        # Minus infinity is a mask: as a number it would make a row without a key NaN.
        seen = bias != -jnp.inf
        mask = seen if mask is None else jnp.logical_and(mask, seen)
        bias = jnp.where(seen, bias, jnp.zeros_like(bias)).astype(qkv.q.dtype)
    # JAX's own code mixes float32 with the dtype of what it is given.
    with jax.numpy_dtype_promotion("standard"):
        return jax.nn.dot_product_attention(
            *qkv, bias, mask, is_causal=is_causal, implementation=implementation
        )
