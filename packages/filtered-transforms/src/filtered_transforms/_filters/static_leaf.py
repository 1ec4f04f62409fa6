"""Values that are not arrays, on their way out of a function that JAX traces."""

from typing import Any

import jax.tree_util as jtu

from .predicates import array_mask


class StaticLeaf:
    """A node without children that turns into its value when it is unflattened.

    So the tree that a JAX transformation returns is complete, without a second pass over it. Two
    are equal if they hold the same value, or equal values of one type. A comparison that fails, or
    whose result is no `bool`, counts as different.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticLeaf):
            return NotImplemented
        return self.value is other.value or same_static(self.value, other.value)

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(type(self.value))

    def __repr__(self) -> str:
        return repr(self.value)


def same_static(x: Any, y: Any) -> bool:
    """Whether two static values are equal and of one type; never raises."""
    if x is y:
        return True
    if type(x) is not type(y):
        return False
    if isinstance(x, (float, complex)):
        return repr(x) == repr(y)  # tells 0.0 from -0.0, and makes one NaN as good as another
    try:
        return (x == y) is True
    except Exception:
        return False


jtu.register_pytree_node(StaticLeaf, lambda leaf: ((), leaf), lambda leaf, _: leaf.value)


def wrap_static(tree: Any) -> Any:
    """`tree` with each non-array leaf wrapped in a node; unflattening unwraps them."""
    leaves, treedef = jtu.tree_flatten(tree)
    mask = array_mask(leaves)
    if all(mask):
        return tree
    return treedef.unflatten(
        [leaf if array else StaticLeaf(leaf) for leaf, array in zip(leaves, mask, strict=True)]
    )
