"""Dtypes in computations: normalisations compute in float32 or better."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def wider_dtype(dtype: Any, other: Any) -> Any:
    """The dtype that both promote to, also under strict promotion."""
    if dtype == other:
        return dtype
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, other)


def apply_promoted(operation: Any, x: Array, y: Array) -> Array:
    """`operation(x, y)` in the wider of both dtypes, also under strict promotion."""
    if x.dtype == y.dtype:
        return operation(x, y)
    dtype = wider_dtype(x.dtype, y.dtype)
    return operation(x.astype(dtype), y.astype(dtype))


def at_least_float32(x: Array) -> Array:
    """`x` in float32, or in its own dtype if that is wider. Statistics are computed in it."""
    dtype = wider_dtype(x.dtype, jnp.dtype(jnp.float32))
    return x if x.dtype == dtype else x.astype(dtype)


def scale_and_shift(
    y: Array, weight: Array | None, bias: Array | None, channels: bool = False
) -> Array:
    """`y * weight + bias`; `None` is left out. With `channels`, along the first axis of `y`."""
    for operation, parameter in ((jnp.multiply, weight), (jnp.add, bias)):
        if parameter is not None:
            if channels:
                parameter = per_channel(parameter, y.ndim)
            y = apply_promoted(operation, y, parameter)
    return y


def per_channel(x: Array, ndim: int) -> Array:
    """A vector with trailing axes, so that it broadcasts along the first of `ndim` axes."""
    return x.reshape((-1,) + (1,) * (ndim - 1))
