"""Stand-ins for leaves: objects that are nothing but a position."""

from typing import Any

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.one_level import children_with_keys


class StandIn:
    """What `where` sees in place of the leaf number `position`."""

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
    """An empty tuple that, unlike `()`, is not the same object wherever it occurs."""

    position: int


def stand_in_tree(
    pytree: Any, leaves: list[Any], treedef: PyTreeDef, empty_tuples: bool
) -> tuple[Any, list[Any]]:
    """The tree with a stand-in for each leaf, and the stand-ins in order."""
    stand_ins: list[Any] = list(map(StandIn, range(len(leaves))))
    if empty_tuples:
        for position, leaf in enumerate(leaves):
            if type(leaf) is tuple and not leaf:
                stand_ins[position] = DistinctTuple()
                stand_ins[position].position = position
    try:
        return treedef.unflatten(stand_ins), stand_ins
    except Exception as error:
        path, node = _first_failing(pytree)
        raise WhereError(
            f"`tree_at` cannot look into the node of type `{type(node).__name__}` at "
            f"`{path_str(path)}`: putting it together again failed on its children ({error}). The "
            "unflattening of a PyTree node must take any objects for children, and not check, "
            "convert or replace them; do that in `__init__`, and have the unflattening go round it."
        ) from error


def find_rewritten(pytree: Any) -> tuple[tuple[Any, ...], Any] | None:
    """The first node whose unflattening does not keep the children it is given."""
    for path, node, children, treedef in _nodes((), pytree):
        marks = [StandIn(i) for i in range(len(children))]
        again = [child for _, child in children_with_keys(treedef.unflatten(marks))]
        if len(again) != len(marks) or any(a is not b for a, b in zip(again, marks, strict=True)):
            return path, node
    return None


def _first_failing(pytree: Any) -> tuple[tuple[Any, ...], Any]:
    """The first node, from the root, that cannot hold stand-ins."""
    for path, node, children, treedef in _nodes((), pytree):
        try:
            treedef.unflatten([StandIn(i) for i in range(len(children))])
        except Exception:
            return path, node
    return (), pytree


def _nodes(path: tuple[Any, ...], node: Any) -> Any:
    """Every node that has children, parents first: path, node, children, treedef of one level."""
    pairs = children_with_keys(node)
    if not pairs:
        return
    children = [child for _, child in pairs]
    ids = set(map(id, children))
    treedef = jtu.tree_structure(node, is_leaf=lambda x: x is not node and id(x) in ids)
    yield path, node, children, treedef
    for key, child in pairs:
        yield from _nodes(path + key, child)
