"""`tree_at`: replace chosen nodes of a tree, out of place.

How it works: flatten the tree once, put a distinct stand-in in place of each leaf, and hand the
result to `where`. A stand-in knows its position, so that two leaves that are one object (or two
equal small integers) stay apart, and `where` cannot look at values. If `where` chose leaves only,
the answer is there; if it chose whole nodes, a second walk, which stops at these nodes, finds them.
"""

import itertools as it
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import jax.tree_util as jtu

from ._errors import WhereError
from ._explain import explain_ambiguous, explain_missing, explain_place
from ._standin import DistinctTuple, StandIn, stand_in_tree

_MISSING: Final[Any] = object()
_EMPTY: Final[tuple[()]] = ()  # one object in every tree, by CPython

_TWICE = "`where` chose the same node twice:"
_VALUES = (
    "`where` must use only the structure of the tree, not the values of its leaves: it chose "
    "something else when the leaves were hidden from it."
)

# What `where` chose: a position among the parts of the tree, or a nested list of them.
_Chosen = int | list["_Chosen"]


def tree_at(
    where: Callable[[Any], Any | Sequence[Any]],
    pytree: Any,
    replace: Any | Sequence[Any] = _MISSING,
    replace_fn: Callable[[Any], Any] = _MISSING,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """The tree is rebuilt with the nodes that `where` points at replaced, and is otherwise the same.

    **Arguments:**

    - `where`: a function from the tree to one of its nodes, or to a (nested) list or tuple of
        them. A node is a leaf or any subtree. `where` is called with stand-ins for the leaves: it may
        use the structure of the tree, never the values in it.
    - `pytree`: the tree.
    - `replace`: the new node; for a sequence of nodes, a sequence of the same lengths.
    - `replace_fn`: instead of `replace`, a function from each old node to the new one.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`. `is_leaf=lambda x: x is None` tells apart and
        replaces the `None`s of a tree that has several of them.

    **Returns:**

    A new tree. The input is left as it is.

    **Raises:**

    `WhereError` (a `ValueError`) if something that is not a node is chosen, such as a static field or
    a value computed from a leaf, if a node is chosen twice or inside another, if the lengths of
    `replace` do not fit, or if `where` depends on the values of leaves. `ValueError` unless exactly
    one of `replace` and `replace_fn` is given. Whatever `where` itself raises on the tree.

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
    parts, treedef, chosen = _locate(where, pytree, is_leaf)
    if replace is _MISSING:
        for index in _indices(chosen):
            parts[index] = replace_fn(parts[index])
    else:
        _put(parts, chosen, replace)
    return treedef.unflatten(parts)


def _locate(
    where: Callable[[Any], Any], pytree: Any, is_leaf: Callable[[Any], bool] | None
) -> tuple[list[Any], jtu.PyTreeDef, _Chosen]:
    """Flatten the tree such that every chosen node is one part, and say which parts are chosen."""
    parts, treedef = jtu.tree_flatten(pytree, is_leaf)
    tree, stand_ins = stand_in_tree(pytree, parts, treedef, is_leaf is not None)
    selected = _ask(where, tree, parts, treedef)
    if type(selected) is StandIn and stand_ins[selected.index] is selected:
        chosen = selected.index
    else:
        candidates: dict[int, Any] = {}
        _collect(selected, candidates)
        if id(_EMPTY) in candidates and not (is_leaf is not None and is_leaf(_EMPTY)):
            # There is only one `()`. Ask again, with the empty tuples of the tree as leaves.
            return _locate(where, pytree, _or_empty_tuple(is_leaf))
        parts, treedef, places = _part(pytree, tree, candidates, is_leaf)
        chosen = _resolve(selected, places, pytree, tree)
    _check_structural(where, parts, treedef, chosen)
    return parts, treedef, chosen


def _ask(where: Callable[[Any], Any], tree: Any, leaves: list[Any], treedef: Any) -> Any:
    try:
        return where(tree)
    except Exception as error:
        failure = error
    where(treedef.unflatten(leaves))  # the user should see what `where` raises on the tree itself
    raise WhereError(
        "`where` must use only the structure of the tree, not the values of its leaves: it works "
        f"on the tree itself, but not with stand-ins for its leaves ({failure})."
    ) from failure


def _or_empty_tuple(is_leaf: Callable[[Any], bool] | None) -> Callable[[Any], bool]:
    def is_leaf_or_empty_tuple(x: Any) -> bool:
        return x is _EMPTY or (is_leaf is not None and is_leaf(x))

    return is_leaf_or_empty_tuple


def _collect(selected: Any, candidates: dict[int, Any]) -> None:
    """Everything in `selected` that may be a node: itself, and what is inside of sequences."""
    candidates[id(selected)] = selected
    if isinstance(selected, list | tuple) and type(selected) is not DistinctTuple:
        for x in cast(Sequence[Any], selected):
            if type(x) is not StandIn and id(x) not in candidates:
                _collect(x, candidates)


def _part(
    pytree: Any,
    tree: Any,
    candidates: dict[int, Any],
    is_leaf: Callable[[Any], bool] | None,
) -> tuple[list[Any], jtu.PyTreeDef, dict[int, list[int]]]:
    """Flatten down to the candidates. Also says where among the parts each object is.

    JAX visits the nodes of a tree in a fixed order, so that the walk over the stand-ins gives
    the numbers of the visits at which to stop in the tree itself.
    """
    visit = it.count()
    stops: set[int] = set()

    def is_candidate(x: Any) -> bool:
        number = next(visit)
        if id(x) in candidates:
            stops.add(number)
            return True
        return False

    found = jtu.tree_leaves(tree, is_leaf=is_candidate)
    visit = it.count()
    if is_leaf is None:
        parts, treedef = jtu.tree_flatten(pytree, lambda _: next(visit) in stops)
    else:
        parts, treedef = jtu.tree_flatten(pytree, lambda x: next(visit) in stops or is_leaf(x))
    places: dict[int, list[int]] = {}
    for place, x in enumerate(found):
        places.setdefault(id(x), []).append(place)
    if len(parts) != len(found):
        raise WhereError(explain_missing(None, pytree, tree))
    return parts, treedef, places


def _resolve(selected: Any, places: dict[int, list[int]], pytree: Any, tree: Any) -> _Chosen:
    """Which parts `selected` stands for; each object must be exactly one part, chosen once."""
    taken: set[int] = set()

    def resolve(x: Any) -> _Chosen:
        at = places.get(id(x), [])
        if len(at) == 1:
            if at[0] in taken:
                raise WhereError(f"{_TWICE} {explain_place(x, tree)}", x)
            taken.add(at[0])
            return at[0]
        if at:
            raise WhereError(explain_ambiguous(x, len(at)), x)
        if isinstance(x, list | tuple) and type(x) is not DistinctTuple:
            return [resolve(y) for y in cast(Sequence[Any], x)]
        raise WhereError(explain_missing(x, pytree, tree), x)

    return resolve(selected)


def _check_structural(
    where: Callable[[Any], Any], parts: list[Any], treedef: jtu.PyTreeDef, chosen: _Chosen
) -> None:
    """Ask again with the true leaves: `where` must choose the same."""
    try:
        selected = where(treedef.unflatten(parts))
    except Exception as error:
        raise WhereError(f"{_VALUES} On the true leaves it failed ({error}).") from error
    if not _same(selected, parts, chosen):
        raise WhereError(_VALUES, selected)


def _same(selected: Any, parts: list[Any], chosen: _Chosen) -> bool:
    if type(chosen) is int:
        part = parts[chosen]
        # A node that makes its children anew each time cannot be compared by identity.
        return selected is part or (
            type(selected) is type(part) and id(selected) not in set(map(id, parts))
        )
    return (
        isinstance(selected, list | tuple)
        and len(cast(Sequence[Any], selected)) == len(chosen)
        and all(map(_same, cast(Sequence[Any], selected), it.repeat(parts), chosen))
    )


def _indices(chosen: _Chosen) -> list[int]:
    if type(chosen) is int:
        return [chosen]
    return [index for x in chosen for index in _indices(x)]


def _put(parts: list[Any], chosen: _Chosen, replace: Any) -> None:
    if type(chosen) is int:
        parts[chosen] = replace
        return
    try:
        length = len(replace)
    except TypeError:
        length = None
    if length != len(chosen):
        got = f"`{type(replace).__name__}`" + ("" if length is None else f" of length {length}")
        raise WhereError(
            f"`where` chose a sequence of {len(chosen)} nodes, so `replace` must be a sequence of "
            f"{len(chosen)} too, but it is a {got}.",
            replace,
        )
    for x, value in zip(chosen, replace, strict=True):
        _put(parts, x, value)
