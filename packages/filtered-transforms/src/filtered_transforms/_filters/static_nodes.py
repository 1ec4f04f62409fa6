"""Trees with non-array leaves, as arguments of JAX functions that call our functions."""

from itertools import compress
from typing import Any

import jax.tree_util as jtu

from .predicates import array_mask
from .static_leaf import StaticLeaf


class Held(StaticLeaf):
    """A value that is not an array, as a childless node: JAX compares it and never traces it.

    Unlike `StaticLeaf` it stays a node when it is unflattened: JAX flattens and unflattens the
    trees of its loops more than once.
    """

    __slots__ = ()


jtu.register_pytree_node(Held, lambda held: ((), held), lambda held, _: held)


def _is_held(x: Any) -> bool:
    return x.__class__ is Held


def is_number(x: Any) -> bool:
    """Whether `x` is a Python number, which JAX would take for an array."""
    return isinstance(x, (bool, int, float, complex))


def hold(tree: Any, numbers: frozenset[int] = frozenset()) -> Any:
    """Wrap non-array leaves in childless nodes, so that JAX treats them as structure.

    `numbers`: leaf positions left unwrapped.
    """
    leaves, treedef = jtu.tree_flatten(tree)
    mask = array_mask(leaves)
    if all(mask):
        return tree
    for i in numbers:
        mask[i] = True
    pairs = zip(leaves, mask, strict=True)
    return treedef.unflatten([leaf if array else Held(leaf) for leaf, array in pairs])


def release(tree: Any) -> Any:
    """The inverse of `hold`."""
    leaves, treedef = jtu.tree_flatten(tree, is_leaf=_is_held)
    mask = [leaf.__class__ is Held for leaf in leaves]
    if not any(mask):
        return tree
    for i in compress(range(len(mask)), mask):
        leaves[i] = leaves[i].value
    return treedef.unflatten(leaves)


def check_callable(name: str, fun: Any) -> None:
    """**Raises:** `TypeError` if `fun` is not callable; it names the transformation, `name`."""
    if not callable(fun):
        raise TypeError(
            f"`{name}` expects a function, got a {type(fun).__name__}, which is not a callable "
            f"object: {fun!r}."
        )
