"""`tree_at`: replace chosen nodes of a tree, out of place.

How it works: flatten the tree once, put a distinct stand-in in place of each leaf, and hand the
result to `where`. A stand-in knows its position, so that two leaves that are one object (or two
equal small integers) stay apart, and `where` cannot look at values. If `where` chose a leaf, the
answer is there; if it chose whole nodes, a second walk, which stops at these nodes, finds them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import jax.tree_util as jtu

from ._errors import WhereError
from ._explain import explain_ambiguous, explain_changed, explain_missing, explain_place
from ._jax import PyTreeDef
from ._standin import DistinctTuple, StandIn, stand_in_tree

_MISSING: Final[Any] = object()
_EMPTY: Final[tuple[()]] = ()  # one object in every tree

_VALUES = "`where` must use only the structure of the tree, not the values of its leaves:"

# What `where` chose: a position among the parts of the tree, or a nested list of them.
_Chosen = int | list["_Chosen"]
_IsLeaf = Callable[[Any], bool] | None


class _Cut(NamedTuple):
    """A tree cut into parts, each of them a leaf or a chosen node."""

    parts: list[Any]  # leaves; for nodes, the node with stand-ins in it
    nodes: set[int]  # which parts are nodes
    treedef: PyTreeDef  # puts the parts together
    chosen: _Chosen


def tree_at(
    where: Callable[[Any], Any | Sequence[Any]],
    pytree: Any,
    replace: Any | Sequence[Any] = _MISSING,
    replace_fn: Callable[[Any], Any] = _MISSING,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """The tree is rebuilt with the nodes that `where` points at replaced, and else is the same.

    **Arguments:**

    - `where`: a function from the tree to one of its nodes, or to a (nested) list or tuple of
        them. A node is a leaf or any subtree. `where` is called with stand-ins for the leaves: it
        may use the structure of the tree, never the values in it.
    - `pytree`: the tree.
    - `replace`: the new node; for a sequence of nodes, a sequence of the same lengths.
    - `replace_fn`: instead of `replace`, a function from each old node to the new one.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`. `is_leaf=lambda x: x is None` tells apart and
        replaces the `None`s of a tree that has several of them.

    **Returns:**

    A new tree. The input is left as it is.

    **Raises:**

    `WhereError` (a `ValueError`) if something that is not a node is chosen, such as a static field
    or a value computed from a leaf, if a node is chosen twice or inside another, if the lengths of
    `replace` do not fit, or if `where` depends on the values of leaves or changes the tree.
    `ValueError` unless exactly one of `replace` and `replace_fn` is given. Whatever `where` itself
    raises on the tree.

    ```python
    from tree_surgery import tree_at

    tree = {"layers": [1, (2, 3)], "scale": None}
    assert tree_at(lambda t: t["layers"][0], tree, 10)["layers"] == [10, (2, 3)]
    assert tree_at(lambda t: t["layers"], tree, replace_fn=len)["layers"] == 2
    new = tree_at(lambda t: (t["scale"], t["layers"][1][0]), tree, (0.5, 20))
    assert new == {"layers": [1, (20, 3)], "scale": 0.5}
    ```
    """
    if (replace is _MISSING) == (replace_fn is _MISSING):
        raise ValueError("Exactly one of `replace` and `replace_fn` must be given to `tree_at`.")
    leaves, treedef = jtu.tree_flatten(pytree, is_leaf)
    tree, stand_ins = stand_in_tree(pytree, leaves, treedef, is_leaf is not None)
    selected = _ask(where, tree, pytree)
    if type(selected) is StandIn and stand_ins[selected.position] is selected:
        if jtu.tree_leaves(tree) != stand_ins:
            explain_changed(treedef, stand_ins)
        cut = _Cut(leaves.copy(), set(), treedef, selected.position)
    else:
        candidates: dict[int, Any] = {}
        _collect(selected, candidates)
        parts, cut_treedef, places = _part(tree, candidates)
        interned = _interned(candidates, places, is_leaf)
        if interned:
            return tree_at(where, pytree, replace, replace_fn, _or_one_of(interned, is_leaf))
        nodes = _put_back(parts, leaves, stand_ins)
        if nodes is None:
            explain_changed(treedef, stand_ins)
            raise WhereError(explain_missing(selected, pytree, tree), selected)
        cut = _Cut(parts, nodes, cut_treedef, _resolve(selected, places, pytree, tree))
    originals = _ask_again(where, pytree, leaves, cut, is_leaf)
    if replace is _MISSING:
        _apply(cut.parts, cut.chosen, originals, replace_fn)
    else:
        _put(cut.parts, cut.chosen, replace)
    return cut.treedef.unflatten(cut.parts)


def _ask(where: Callable[[Any], Any], tree: Any, pytree: Any) -> Any:
    try:
        return where(tree)
    except Exception as error:
        failure = error
    where(pytree)  # the user should see what `where` raises on the tree itself
    raise WhereError(
        f"{_VALUES} it works on the tree itself, but not with stand-ins for its leaves ({failure})."
    ) from failure


def _is_sequence(x: Any) -> bool:
    return isinstance(x, list | tuple) and type(cast(Any, x)) is not DistinctTuple


def _collect(selected: Any, candidates: dict[int, Any]) -> None:
    """Everything in `selected` that may be a node: itself, and what is inside of sequences."""
    candidates[id(selected)] = selected
    if _is_sequence(selected):
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
    candidates: dict[int, Any], places: dict[int, list[int]], is_leaf: _IsLeaf
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


def _or_one_of(objects: list[Any], is_leaf: _IsLeaf) -> Callable[[Any], bool]:
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


def _resolve(selected: Any, places: dict[int, list[int]], pytree: Any, tree: Any) -> _Chosen:
    """Which parts `selected` stands for; each object must be exactly one part, chosen once."""
    taken: set[int] = set()

    def resolve(x: Any) -> _Chosen:
        at = places.get(id(x), [])
        if len(at) == 1:
            if at[0] in taken:
                raise WhereError(f"`where` chose the same node twice: {explain_place(x, tree)}.", x)
            taken.add(at[0])
            return at[0]
        if at:
            raise WhereError(explain_ambiguous(x, len(at)), x)
        if _is_sequence(x):
            return [resolve(y) for y in x]
        raise WhereError(explain_missing(x, pytree, tree, within=selected), x)

    return resolve(selected)


def _ask_again(
    where: Callable[[Any], Any], pytree: Any, leaves: list[Any], cut: _Cut, is_leaf: _IsLeaf
) -> Any:
    """What `where` selects of the tree itself. It must be what it selected among the stand-ins."""
    try:
        originals = where(pytree)
    except Exception as error:
        raise WhereError(f"{_VALUES} it failed on the true leaves ({error}).") from error

    def same(original: Any, chosen: _Chosen) -> bool:
        if not isinstance(chosen, int):
            fits = _is_sequence(original) and len(original) == len(chosen)
            return fits and all(map(same, original, chosen))
        part = cut.parts[chosen]
        if chosen not in cut.nodes:
            return original is part or (type(original) is type(part) and foreign(original))
        if type(original) is not type(part):
            return False
        expected = [leaves[x.position] for x in jtu.tree_leaves(part)]
        found = jtu.tree_leaves(original, is_leaf=is_leaf)
        return len(found) == len(expected) and all(
            x is y or foreign(x) for x, y in zip(found, expected, strict=True)
        )

    def foreign(x: Any) -> bool:
        # A node that makes its children anew at each look cannot be compared by identity.
        return all(x is not leaf for leaf in leaves)

    if not same(originals, cut.chosen):
        raise WhereError(
            f"{_VALUES} it chose something else when the leaves were hidden from it.", originals
        )
    return originals


def _apply(
    parts: list[Any], chosen: _Chosen, originals: Any, replace_fn: Callable[[Any], Any]
) -> None:
    if isinstance(chosen, int):
        parts[chosen] = replace_fn(originals)
    else:
        for x, original in zip(chosen, originals, strict=True):
            _apply(parts, x, original, replace_fn)


def _put(parts: list[Any], chosen: _Chosen, replace: Any) -> None:
    if isinstance(chosen, int):
        parts[chosen] = replace
        return
    length = len(replace) if hasattr(replace, "__len__") and hasattr(replace, "__iter__") else None
    if length != len(chosen):
        got = f"`{type(replace).__name__}`" + ("" if length is None else f" of length {length}")
        raise WhereError(
            f"`where` chose a sequence of {len(chosen)} nodes, so `replace` must be a sequence of "
            f"length {len(chosen)} too, but it is a {got}.",
            replace,
        )
    for x, value in zip(chosen, replace, strict=True):
        _put(parts, x, value)
