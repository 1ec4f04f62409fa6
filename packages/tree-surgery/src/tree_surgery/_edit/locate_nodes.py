"""Cutting a tree into parts, such that each node that `where` selected is one of them."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef

from .stand_ins import DistinctTuple, StandIn
from .where_errors import explain_ambiguous, explain_changed, explain_missing, explain_place

_EMPTY: Final[tuple[()]] = ()  # one object in every tree

# What `where` chose: a position among the parts of the tree, or a nested list of them.
Chosen = int | list["Chosen"]
IsLeaf = Callable[[Any], bool] | None


class Cut(NamedTuple):
    """A tree cut into parts, each of them a leaf or a chosen node."""

    parts: list[Any]  # leaves; for nodes, the node with stand-ins in it
    nodes: set[int]  # which parts are nodes
    treedef: PyTreeDef  # puts the parts together
    chosen: Chosen


class Flat(NamedTuple):
    """A tree, flattened, and the same with stand-ins for the leaves."""

    pytree: Any
    leaves: list[Any]
    treedef: PyTreeDef
    tree: Any
    stand_ins: list[Any]


def cut(flat: Flat, selected: Any, is_leaf: IsLeaf) -> Cut | Callable[[Any], bool]:
    """Cut a tree at what was selected of it among the stand-ins.

    If something selected is one object in several places, gives an `is_leaf` instead: with that,
    flatten the tree and select again.
    """
    if type(selected) is StandIn and flat.stand_ins[selected.position] is selected:
        if jtu.tree_leaves(flat.tree) != flat.stand_ins:
            explain_changed(flat.treedef, flat.stand_ins)
        return Cut(flat.leaves.copy(), set(), flat.treedef, selected.position)
    candidates: dict[int, Any] = {}
    _collect(selected, candidates)
    parts, treedef, places = _part(flat.tree, candidates)
    interned = _interned(candidates, places, is_leaf)
    if interned:
        return _or_one_of(interned, is_leaf)
    nodes = _put_back(parts, flat.leaves, flat.stand_ins)
    if nodes is None:
        explain_changed(flat.treedef, flat.stand_ins)
        raise WhereError(explain_missing(selected, flat.pytree, flat.tree), selected)
    return Cut(parts, nodes, treedef, _resolve(selected, places, flat.pytree, flat.tree))


def is_sequence(x: Any) -> bool:
    """Whether this is a sequence of nodes, unless it is a node itself."""
    return isinstance(x, list | tuple) and type(cast(Any, x)) is not DistinctTuple


def _collect(selected: Any, candidates: dict[int, Any]) -> None:
    """Everything in `selected` that may be a node: itself, and what is inside of sequences."""
    candidates[id(selected)] = selected
    if is_sequence(selected):
        for x in selected:
            if type(x) is not StandIn and id(x) not in candidates:
                _collect(x, candidates)


def _part(
    tree: Any, candidates: dict[int, Any]
) -> tuple[list[Any], PyTreeDef, dict[int, list[int]]]:
    """Flatten down to the candidates. Also says at which places each part is, by identity."""
    parts, treedef = jtu.tree_flatten(tree, lambda x: id(x) in candidates)
    places: dict[int, list[int]] = {}
    for place, x in enumerate(parts):
        places.setdefault(id(x), []).append(place)
    return parts, treedef, places


def _interned(
    candidates: dict[int, Any], places: dict[int, list[int]], is_leaf: IsLeaf
) -> list[Any]:
    """Candidates that are one object wherever they are: `()`, and nodes that rebuild to themselves.

    To tell their places apart, they must be leaves, with stand-ins. (`None` too, but there the user
    has to say so: in most trees it means that there is nothing.)
    """
    return [
        x
        for x in candidates.values()
        if (x is _EMPTY or (x is not None and len(places.get(id(x), ())) > 1))
        and not (is_leaf is not None and is_leaf(x))
    ]


def _or_one_of(objects: list[Any], is_leaf: IsLeaf) -> Callable[[Any], bool]:
    def is_leaf_or_one_of(x: Any) -> bool:
        return any(x is y for y in objects) or (is_leaf is not None and is_leaf(x))

    return is_leaf_or_one_of


def _put_back(parts: list[Any], leaves: list[Any], stand_ins: list[Any]) -> set[int] | None:
    """Put the leaves where their stand-ins are, and say which parts are nodes. `None` if the
    stand-ins are not those of the tree, in order."""
    nodes: set[int] = set()
    met: list[Any] = []
    for place, x in enumerate(parts):
        if type(x) is StandIn or type(x) is DistinctTuple:
            met.append(x)
            parts[place] = leaves[x.position] if x.position < len(leaves) else x
        else:
            nodes.add(place)
            met.extend(jtu.tree_leaves(x))
    return nodes if met == stand_ins else None


def _resolve(selected: Any, places: dict[int, list[int]], pytree: Any, tree: Any) -> Chosen:
    """Which parts `selected` stands for; each object must be exactly one part, chosen once."""
    taken: set[int] = set()

    def resolve(x: Any) -> Chosen:
        at = places.get(id(x), [])
        if len(at) == 1:
            if at[0] in taken:
                raise WhereError(f"`where` chose the same node twice: {explain_place(x, tree)}.", x)
            taken.add(at[0])
            return at[0]
        if at:
            raise WhereError(explain_ambiguous(x, len(at)), x)
        if is_sequence(x):
            return [resolve(y) for y in x]
        raise WhereError(explain_missing(x, pytree, tree, within=selected), x)

    return resolve(selected)
