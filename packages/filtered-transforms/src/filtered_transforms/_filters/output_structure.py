"""Everything about the result of a traced function but its arrays."""

from itertools import compress
from typing import Any

import jax.tree_util as jtu

from .predicates import array_mask


class Signature:
    """One trace of a program: the structure of its result, and its non-array leaves.

    It travels as a node without children in what the trace returns, so that JAX returns it with
    every result of that trace. `has_checks` is found after the first call.
    """

    # A node that unflattens to the static leaf itself, as `StaticLeaf`, would spare the second pass
    # over the result. But JAX calls a program from C++ only where the result holds arrays alone.

    __slots__ = ("has_checks", "positions", "template", "treedef")

    def __init__(self, treedef: Any, leaves: list[Any], mask: list[bool]):
        self.has_checks: bool | None = None
        self.treedef = treedef
        if all(mask):
            self.template = None
        else:
            pairs = zip(leaves, mask, strict=True)
            self.template = [None if array else leaf for leaf, array in pairs]
        self.positions = [i for i, array in enumerate(mask) if array]

    def result(self, arrays: list[Any]) -> Any:
        """The result of the function, from the arrays in it."""
        if self.template is not None:
            leaves = self.template[:]
            for i, array in zip(self.positions, arrays):  # noqa: B905 (as many as were traced)
                leaves[i] = array
            arrays = leaves
        return self.treedef.unflatten(arrays)

    def of_quick(self, out: Any) -> Any:
        """The result of the function, from what a `quick_program` returns for it."""
        return out if self.template is None else self.result(out)


jtu.register_pytree_node(Signature, lambda seen: ((), seen), lambda seen, _: seen)


def sign(out: Any) -> tuple[list[Any], Signature]:
    """The arrays of a result, and all else about it."""
    leaves, treedef = jtu.tree_flatten(out)
    mask = array_mask(leaves)
    return list(compress(leaves, mask)), Signature(treedef, leaves, mask)
