"""Dtypes in computations: normalisations compute in float32 or better."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def wider(dtype: Any, other: Any) -> Any:
    """What both dtypes promote to, whatever promotion the user allows implicitly."""
    if dtype == other:
        return dtype
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, other)


def promoted(operation: Any, x: Array, y: Array) -> Array:
    """`operation(x, y)` in the wider of both dtypes, also under strict promotion."""
    dtype = wider(x.dtype, y.dtype)
    return operation(x.astype(dtype), y.astype(dtype))


def exact(x: Array) -> Array:
    """`x` in float32, or in its own dtype if that is wider: what statistics are computed in."""
    return x.astype(wider(x.dtype, jnp.dtype(jnp.float32)))
