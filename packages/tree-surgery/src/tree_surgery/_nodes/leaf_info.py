"""What a file says of a leaf before the leaf is read, and which values convert into which leaves.

A leaf is saved as an array, as a number of Python, or in a format of its own
(`__serialise_leaf__`). Other leaves are not saved.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tree_surgery._load_report import LeafInfo

from .arrays import is_array_or_struct

OWN = "format of its own"  # the `dtype` of a leaf with `__serialise_leaf__`
NUMBERS: tuple[type, ...] = (bool, int, float, complex)
_KINDS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)


def info_of(leaf: Any) -> LeafInfo | None:
    """The kind, dtype and shape of a leaf. `None` if the leaf is not saved."""
    if is_array_or_struct(leaf):
        return LeafInfo(dtype_name(leaf.dtype), tuple(leaf.shape))
    kind = number_kind(leaf)
    if kind is not None:
        return LeafInfo(f"Python {kind.__name__}")
    return LeafInfo(OWN) if hasattr(type(leaf), "__serialise_leaf__") else None


# NumPy puts the name together anew each time; a tree has many leaves of few dtypes.
@functools.lru_cache(maxsize=64)
def dtype_name(dtype: Any) -> str:
    return str(dtype)


def number_kind(x: Any) -> Any:
    """Which Python type of numbers `x` is an instance of. `None` if it is no Python number."""
    if isinstance(x, np.generic):  # `np.float64` is a `float` too
        return None
    return next((kind for kind in NUMBERS if isinstance(x, kind)), None)


def as_number(found: Any, like: Any) -> Any:
    """`found` converted to the type of `like`.

    `None` if that type is narrower than the type of `found`, or if the value would change.
    """
    kind = number_kind(like)
    order = [bool, int, float, complex]
    other = next((k for k in order if isinstance(found, k)), None)
    if other is None or (other is bool) != (kind is bool) or order.index(other) > order.index(kind):
        return None
    try:
        value = kind(found)
    except OverflowError:
        return None
    if value != found and found == found:  # NaN differs from itself, but nothing was lost
        return None
    return value if type(like) is kind else type(like)(value)


def castable(found: Any, wanted: Any) -> bool:
    """Whether both dtypes are of one kind: booleans, integers, floating, or complex numbers."""
    return any(jnp.issubdtype(found, kind) and jnp.issubdtype(wanted, kind) for kind in _KINDS)


def is_jax(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX, or a `jax.ShapeDtypeStruct`."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)
