"""A function of any PyTrees as a function of the inexact arrays of some arguments."""

from typing import Any

import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import Signature, sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import inexact_mask


class InexactInputs:
    """The inexact arrays of a tree, which JAX differentiates, and the rest of the tree."""

    def __init__(self, tree: Any):
        leaves, self.treedef = jtu.tree_flatten(tree)
        self.mask = inexact_mask(leaves)
        self.arrays, self.others = split(leaves, self.mask)

    def tree(self, arrays: Any) -> Any:
        """The tree with these inexact arrays."""
        return self.treedef.unflatten(merge(self.mask, arrays, self.others))

    def derivative(self, arrays: Any) -> Any:
        """A tree of derivatives: `None` for all other leaves."""
        return self.treedef.unflatten(merge(self.mask, arrays, [None] * len(self.others)))


class InexactOutputs:
    """The structure of a result, recorded while the call is traced. One instance for each call."""

    out: Signature
    aux: Signature

    def split(self, out: Any) -> tuple[list[Any], list[Any]]:
        """The inexact arrays of a result, and its other arrays."""
        leaves, treedef = jtu.tree_flatten(out)
        mask = inexact_mask(leaves)
        inexact, others = split(leaves, mask)
        kept, self._others = sign(others)
        self.out = Signature(treedef, leaves, mask)
        return inexact, kept

    def join(self, inexact: list[Any], kept: list[Any]) -> Any:
        """The result, from the arrays that `split` gave."""
        others = self._others.result(kept)
        mask = self.mask
        return self.out.treedef.unflatten(merge(mask, inexact, others))

    def derivative(self, arrays: Any) -> Any:
        """A tree of derivatives of the result: `None` for all other leaves."""
        count = len(self.mask) - len(self.out.positions)
        return self.out.treedef.unflatten(merge(self.mask, arrays, [None] * count))

    @property
    def mask(self) -> list[bool]:
        found = [False] * self.out.treedef.num_leaves
        for i in self.out.positions:
            found[i] = True
        return found

    def keep_aux(self, aux: Any) -> list[Any]:
        """The arrays of an auxiliary result; the rest is kept here."""
        arrays, self.aux = sign(aux)
        return arrays


def pair(out: Any) -> tuple[Any, Any]:
    """A result `(value, aux)`.

    **Raises:** `TypeError` if it is not a pair.
    """
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"with `has_aux=True` the function must return a pair (value, aux): expected function "
            f"with aux output to return a two-element tuple, but got a {type(out).__name__}."
        )
    return out
