"""A tree of specs or shardings as static data."""

from typing import Any

import jax.tree_util as jtu


class HashableTree:
    """A tree that is equal to another if their leaves are, and that JAX never takes apart."""

    __slots__ = ("key", "tree")

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, treedef = jtu.tree_flatten(tree, is_leaf=lambda x: x is None)
        self.key = (tuple(leaves), treedef)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableTree) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return repr(self.tree)

    def __reduce__(self) -> tuple[Any, ...]:
        return HashableTree, (self.tree,)
