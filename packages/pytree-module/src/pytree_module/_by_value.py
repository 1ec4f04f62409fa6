"""A box that compares and hashes its content by value, arrays included."""

from typing import Any

import jax
import numpy as np

from tree_surgery import tree_equal


def _hashable(leaf: Any) -> Any:
    if isinstance(leaf, (jax.Array, np.ndarray)):
        return leaf.shape, str(leaf.dtype)
    try:
        hash(leaf)
    except TypeError:
        return type(leaf)
    return leaf


class ByValue:
    """Makes any PyTree usable as the static data of a treedef.

    Equal if the trees are equal, with NumPy and JAX arrays compared by dtype, shape and elements.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ByValue):
            return NotImplemented
        return self.value is other.value or bool(
            tree_equal(self.value, other.value, typematch=True)
        )

    def __hash__(self) -> int:
        leaves, treedef = jax.tree_util.tree_flatten(self.value)
        return hash((treedef, *map(_hashable, leaves)))

    def __repr__(self) -> str:
        return repr(self.value)
