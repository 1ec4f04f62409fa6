"""Which leaves count as arrays in this distribution, and the facts known without their values.

A `jax.ShapeDtypeStruct` counts too: it has a shape and a dtype, so that a model that was never
built (`jax.eval_shape(build)`) can be measured, cast, stacked and summarised.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tree_surgery._jax import Tracer


def is_array_or_struct(x: Any) -> bool:
    """Whether a leaf is an array of JAX or NumPy, or a `jax.ShapeDtypeStruct`."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def has_dtype(x: Any, kind: Any) -> bool:
    """Whether a leaf is an array or a struct whose dtype is a subtype of `kind`, such as
    `jnp.inexact`."""
    return is_array_or_struct(x) and jnp.issubdtype(x.dtype, kind)


def is_key(x: Any) -> bool:
    """Whether a leaf is an array of typed PRNG keys."""
    return has_dtype(x, jax.dtypes.prng_key)


def bytes_of(x: Any) -> int:
    """The size of one array in bytes."""
    return int(x.size) * int(x.dtype.itemsize)


def sharding_of(x: Any) -> Any:
    """The sharding of an array or a struct. `None` if it has none, as while it is being traced."""
    if isinstance(x, jax.Array | jax.ShapeDtypeStruct) and not isinstance(x, Tracer):
        return x.sharding
    return None
