"""Locating the nodes that `where` selected: the tree is split so that each of them is one part.

`where` returns objects. An object says where it stands only if it is in one place of the tree. So
the tree with stand-ins is flattened down to the selected objects; each must be exactly one part.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef

from .stand_ins import DistinctTuple, StandIn, StandInTree
from .where_errors import explain_ambiguous, explain_changed, explain_missing, explain_place

_EMPTY: Final[tuple[()]] = ()  # Python has one empty tuple, so every `()` in a tree is this object

ChosenParts = int | list["ChosenParts"]
"""What `where` selected: the number of a part of the tree, or a nested list of such numbers."""
IsLeaf = Callable[[Any], bool] | None


class SplitTree(NamedTuple):
    """A tree split into parts, each of which is a leaf or a selected node.

    - `parts`: the leaves; for a node, the node with stand-ins for its leaves.
    - `nodes`: the numbers of the parts that are nodes.
    - `treedef`: puts the parts together.
    - `chosen`: the parts that `where` selected.
    """

    parts: list[Any]
    nodes: set[int]
    treedef: PyTreeDef
    chosen: ChosenParts


def locate_nodes(
    hidden: StandInTree, selected: Any, is_leaf: IsLeaf
) -> SplitTree | Callable[[Any], bool]:
    """Split a tree at what `where` selected of it among the stand-ins.

    Returns an `is_leaf` instead if a selected object is in several places. With this `is_leaf`
    each place gets a stand-in of its own: hide the leaves and call `where` again.
    """
    if type(selected) is StandIn and hidden.stand_ins[selected.position] is selected:
        if jtu.tree_leaves(hidden.tree) != hidden.stand_ins:
            explain_changed(hidden.treedef, hidden.stand_ins)
        return SplitTree(hidden.leaves.copy(), set(), hidden.treedef, selected.position)
    candidates: dict[int, Any] = {}
    _collect_candidates(selected, candidates)
    parts, treedef, numbers = _split(hidden.tree, candidates)
    ambiguous = _in_many_places(candidates, numbers, is_leaf)
    if ambiguous:
        return _or_one_of(ambiguous, is_leaf)
    nodes = _restore_leaves(parts, hidden.leaves, hidden.stand_ins)
    if nodes is None:
        explain_changed(hidden.treedef, hidden.stand_ins)
        raise WhereError(explain_missing(selected, hidden.original, hidden.tree), selected)
    return SplitTree(parts, nodes, treedef, _resolve(selected, numbers, hidden))


def is_sequence(x: Any) -> bool:
    """Whether `where` returned a sequence of nodes, rather than one node."""
    return isinstance(x, list | tuple) and type(cast(Any, x)) is not DistinctTuple


def _collect_candidates(selected: Any, candidates: dict[int, Any]) -> None:
    """Add everything that may be a node, by identity: `selected`, and what sequences in it hold.

    A list may be a node of the tree or a sequence of nodes. Only the tree can tell.
    """
    candidates[id(selected)] = selected
    if is_sequence(selected):
        for x in selected:
            if type(x) is not StandIn and id(x) not in candidates:
                _collect_candidates(x, candidates)


def _split(
    tree: Any, candidates: dict[int, Any]
) -> tuple[list[Any], PyTreeDef, dict[int, list[int]]]:
    """The parts of the tree, its treedef, and the numbers of the parts by their identity."""
    parts, treedef = jtu.tree_flatten(tree, lambda x: id(x) in candidates)
    numbers: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        numbers.setdefault(id(part), []).append(number)
    return parts, treedef, numbers


def _in_many_places(
    candidates: dict[int, Any], numbers: dict[int, list[int]], is_leaf: IsLeaf
) -> list[Any]:
    """The candidates whose identity does not say where they stand.

    These are `()`, and nodes whose unflattening returns one object for equal children. As leaves
    they get distinct stand-ins. `None` is left out: it is a leaf only if the user says so, since in
    most trees it means that there is nothing.
    """
    return [
        x
        for x in candidates.values()
        if (x is _EMPTY or (x is not None and len(numbers.get(id(x), ())) > 1))
        and not (is_leaf is not None and is_leaf(x))
    ]


def _or_one_of(objects: list[Any], is_leaf: IsLeaf) -> Callable[[Any], bool]:
    def is_leaf_or_one_of(x: Any) -> bool:
        return any(x is y for y in objects) or (is_leaf is not None and is_leaf(x))

    return is_leaf_or_one_of


def _restore_leaves(parts: list[Any], leaves: list[Any], stand_ins: list[Any]) -> set[int] | None:
    """Replace each part that is a stand-in by its leaf. Returns the numbers of the other parts.

    Returns `None` unless the parts hold all stand-ins in order. Otherwise `where` or a node changed
    the tree, and leaves would end up in wrong places.
    """
    nodes: set[int] = set()
    found: list[Any] = []
    for number, part in enumerate(parts):
        if type(part) is StandIn or type(part) is DistinctTuple:
            found.append(part)
            parts[number] = leaves[part.position] if part.position < len(leaves) else part
        else:
            nodes.add(number)
            found.extend(jtu.tree_leaves(part))
    return nodes if found == stand_ins else None


def _resolve(selected: Any, numbers: dict[int, list[int]], hidden: StandInTree) -> ChosenParts:
    """The parts that `selected` means. Each object must be exactly one part, and chosen once."""
    taken: set[int] = set()

    def resolve(x: Any) -> ChosenParts:
        found = numbers.get(id(x), [])
        if len(found) == 1:
            (number,) = found
            if number in taken:
                place = explain_place(x, hidden.tree)
                raise WhereError(f"`where` chose the same node twice: {place}.", x)
            taken.add(number)
            return number
        if found:
            raise WhereError(explain_ambiguous(x, len(found)), x)
        if is_sequence(x):
            return [resolve(y) for y in x]
        raise WhereError(explain_missing(x, hidden.original, hidden.tree, within=selected), x)

    return resolve(selected)
