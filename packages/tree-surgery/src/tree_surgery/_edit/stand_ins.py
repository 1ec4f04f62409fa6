"""Stand-ins: what `where` sees in place of the leaves of a tree.

A stand-in holds nothing but the position of its leaf. So two leaves that are one object, or equal
small integers, stay apart, and `where` cannot depend on the values of leaves.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.one_level import children_with_keys


class StandIn:
    """What `where` sees in place of leaf number `position`."""

    __slots__ = ("position",)

    position: int

    def __init__(self, position: int):
        self.position = position

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a leaf has no `{name}` here, since `where` sees stand-ins in place of the leaves"
        )

    def __repr__(self) -> str:
        return f"<stand-in for leaf {self.position}>"


class DistinctTuple(tuple[Any, ...]):
    """The stand-in for a leaf `()`: an empty tuple that is an object of its own in each place.

    `where` may treat it as the tuple that it stands for.
    """

    position: int


class StandInTree(NamedTuple):
    """A tree whose leaves are hidden by stand-ins, beside the tree itself.

    - `original`: the tree itself; `leaves`, `treedef`: the same, flattened.
    - `tree`: the tree with a stand-in for each leaf; `stand_ins`: these, in order.
    """

    original: Any
    leaves: list[Any]
    treedef: PyTreeDef
    tree: Any
    stand_ins: list[Any]


def hide_leaves(pytree: Any, is_leaf: Callable[[Any], bool] | None) -> StandInTree:
    """Put a stand-in in place of each leaf of a tree.

    **Raises:** `WhereError` that names the first node that cannot be rebuilt from stand-ins.
    """
    leaves, treedef = jtu.tree_flatten(pytree, is_leaf)
    stand_ins: list[Any] = list(map(StandIn, range(len(leaves))))
    if is_leaf is not None:  # else no `()` is a leaf
        for position, leaf in enumerate(leaves):
            if type(leaf) is tuple and not leaf:
                stand_ins[position] = DistinctTuple()
                stand_ins[position].position = position
    try:
        tree = treedef.unflatten(stand_ins)
    except Exception as error:
        path, node = _first_not_rebuilt(pytree)
        raise WhereError(
            f"`tree_at` cannot look into the node of type `{type(node).__name__}` at "
            f"`{path_str(path)}`: putting it together again failed on its children ({error}). The "
            "unflattening of a PyTree node must take any objects for children, and not check, "
            "convert or replace them; do that in `__init__`, and have the unflattening go round it."
        ) from error
    return StandInTree(pytree, leaves, treedef, tree, stand_ins)


def find_rewriting_node(pytree: Any) -> tuple[tuple[Any, ...], Any] | None:
    """The first node, from the root, whose unflattening replaces the children that it is given."""
    for path, node, children, treedef in _inner_nodes((), pytree):
        given = [StandIn(i) for i in range(len(children))]
        kept = [child for _, child in children_with_keys(treedef.unflatten(given))]
        if len(kept) != len(given) or any(a is not b for a, b in zip(kept, given, strict=True)):
            return path, node
    return None


def _first_not_rebuilt(pytree: Any) -> tuple[tuple[Any, ...], Any]:
    """The first node, from the root, whose unflattening raises on stand-ins."""
    for path, node, children, treedef in _inner_nodes((), pytree):
        try:
            treedef.unflatten([StandIn(i) for i in range(len(children))])
        except Exception:
            return path, node
    return (), pytree


def _inner_nodes(
    path: tuple[Any, ...], node: Any
) -> Iterator[tuple[tuple[Any, ...], Any, list[Any], PyTreeDef]]:
    """Every node that has children, parents first: path, node, children, treedef of one level."""
    pairs = children_with_keys(node)
    if not pairs:
        return
    children = [child for _, child in pairs]
    ids = set(map(id, children))
    treedef = jtu.tree_structure(node, is_leaf=lambda x: x is not node and id(x) in ids)
    yield path, node, children, treedef
    for key, child in pairs:
        yield from _inner_nodes(path + key, child)
