"""What counts as an array here, and what is known of one without looking at its values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tree_surgery._jax import Tracer


def is_array(x: Any) -> bool:
    """Whether a leaf has a shape and a dtype."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def is_of(x: Any, kind: Any) -> bool:
    """Whether a leaf is an array of a kind of numbers, such as `jnp.inexact`."""
    return is_array(x) and jnp.issubdtype(x.dtype, kind)


def is_key(x: Any) -> bool:
    """Whether a leaf is an array of typed PRNG keys."""
    return is_of(x, jax.dtypes.prng_key)


def bytes_of(x: Any) -> int:
    """The bytes of one array."""
    return int(x.size) * int(x.dtype.itemsize)


def sharding_of(x: Any) -> Any:
    """Where an array is, if that is known: it is not, while it is being traced."""
    if isinstance(x, jax.Array | jax.ShapeDtypeStruct) and not isinstance(x, Tracer):
        return x.sharding
    return None
