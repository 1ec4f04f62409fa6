"""Trees compared and hashed by value, so that JAX can look things up: a `bool`, never an error."""

from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np

from ._jax import Tracer


def _same_leaf(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if type(x) is not type(y) or isinstance(x, Tracer):
        return False
    if isinstance(x, (jax.Array, np.ndarray)):
        return x.shape == y.shape and x.dtype == y.dtype and bool((x == y).all())
    return bool(x == y)


def same_value(x: Any, y: Any) -> bool:
    """Whether two trees have one structure and equal leaves. A traced leaf equals itself alone."""
    if x is y:
        return True
    x_leaves, x_treedef = jtu.tree_flatten(x)
    y_leaves, y_treedef = jtu.tree_flatten(y)
    return x_treedef == y_treedef and all(map(_same_leaf, x_leaves, y_leaves))


def _leaf_hash(leaf: Any) -> int:
    if isinstance(leaf, (jax.Array, np.ndarray)):
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
