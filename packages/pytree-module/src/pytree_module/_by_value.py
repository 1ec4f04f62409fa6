"""Trees compared and hashed by value, so that JAX can look things up: a `bool`, never an error."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from ._jax import Tracer


def _bits(x: Any) -> bytes:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():
            x = jax.random.key_data(x)
    return np.asarray(x).tobytes()


def _same_array(x: Any, y: Any) -> bool:
    """Whether two arrays are one and the same constant to the code that is compiled with them.

    So bits count (`0.0` and `-0.0` differ), and so do weak types and devices. NumPy compares: JAX
    would trace the comparison under `jax.jit`.
    """
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if isinstance(x, jax.Array):
        if not (x.is_fully_addressable and y.is_fully_addressable):
            return False
        if x.aval.weak_type != y.aval.weak_type or x.devices() != y.devices():
            return False
    elif x.dtype.hasobject:
        return bool(np.all(x == y))
    return _bits(x) == _bits(y)


def _same_leaf(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if type(x) is not type(y) or isinstance(x, Tracer):
        return False
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        return _same_array(x, y)
    # A number equals its negative if it is zero, but prints otherwise.
    return bool(x == y) and (type(x) not in (float, complex) or str(x) == str(y))


def same_value(x: Any, y: Any) -> bool:
    """Whether two trees have one structure and equal leaves. A traced leaf equals itself alone."""
    if x is y:
        return True
    x_leaves, x_treedef = jtu.tree_flatten(x)
    y_leaves, y_treedef = jtu.tree_flatten(y)
    return x_treedef == y_treedef and all(map(_same_leaf, x_leaves, y_leaves))


def _leaf_hash(leaf: Any) -> int:
    if isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        return hash(leaf.shape)
    try:
        return hash(leaf)
    except TypeError:
        return hash(type(leaf))


def value_hash(tree: Any) -> int:
    """A hash that agrees with `same_value`: of arrays only the shape counts."""
    leaves, treedef = jtu.tree_flatten(tree)
    return hash((treedef, *map(_leaf_hash, leaves)))


class ByValue:
    """A box that makes any PyTree usable as the static data of a treedef."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue) and same_value(self.value, other.value)

    def __hash__(self) -> int:
        return value_hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)
