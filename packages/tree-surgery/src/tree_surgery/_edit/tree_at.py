"""`tree_at`: replace chosen nodes of a tree, out of place.

A function `where` is called twice. The first call gets the tree with a stand-in for each leaf
(`stand_ins.py`), from which `locate_nodes.py` finds where the selected nodes are. The second call
gets the tree itself: for the old values, and to check that `where` does not depend on values.

Patterns and other selectors say themselves where nodes are. They are replaced as in `tree_set`.
"""

from collections.abc import Callable
from typing import Any, Final, cast, overload

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._public import public
from tree_surgery._select.selectors import Selector, find_nodes, is_exact_path
from tree_surgery._types import Node, Tree

from .by_selector import replace_nodes
from .locate_nodes import ChosenParts, IsLeaf, SplitTree, is_sequence, locate_nodes
from .stand_ins import StandInTree, hide_leaves

_MISSING: Final[Any] = object()

_STRUCTURE_ONLY = "`where` must use only the structure of the tree, not the values of its leaves:"


@overload
def tree_at(
    where: Callable[[Tree], object] | str | type[object] | Selector,
    pytree: Tree,
    replace: object,
    *,
    is_leaf: IsLeaf = None,
) -> Tree: ...
@overload
def tree_at(
    where: type[Node],
    pytree: Tree,
    *,
    replace_fn: Callable[[Node], object],
    is_leaf: IsLeaf = None,
) -> Tree: ...
@overload
def tree_at(
    where: str | Selector,
    pytree: Tree,
    *,
    replace_fn: Callable[[Any], object],
    is_leaf: IsLeaf = None,
) -> Tree: ...
@overload  # several nodes, or one that is itself a list or a tuple: types do not tell which
def tree_at(
    where: Callable[[Tree], tuple[Any, ...] | list[Any]],
    pytree: Tree,
    *,
    replace_fn: Callable[[Any], object],
    is_leaf: IsLeaf = None,
) -> Tree: ...
@overload
def tree_at(
    where: Callable[[Tree], Node],
    pytree: Tree,
    *,
    replace_fn: Callable[[Node], object],
    is_leaf: IsLeaf = None,
) -> Tree: ...
@public
def tree_at(
    where: Callable[[Tree], object] | str | type[object] | Selector,
    pytree: Tree,
    replace: object = _MISSING,
    replace_fn: Callable[[Any], object] = _MISSING,
    is_leaf: IsLeaf = None,
) -> Tree:
    """The tree is rebuilt with the nodes that `where` points at replaced, and else is the same.

    **Arguments:**

    - `where`: a function from the tree to one of its nodes, or to a (nested) list or tuple of
        them. A node is a leaf or any subtree. `where` is called with stand-ins for the leaves: it
        may use the structure of the tree, never the values in it. Or a pattern, a type or another
        selector (see [`tree_surgery.where`][]): an exact path means that node, anything else the
        list of what it selects.
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
    assert tree_at("layers[1].*", tree, [20, 30])["layers"] == [1, (20, 30)]
    ```
    """
    if (replace is _MISSING) == (replace_fn is _MISSING):
        raise ValueError("Exactly one of `replace` and `replace_fn` must be given to `tree_at`.")
    if isinstance(where, str | type | Selector):
        return _tree_at_selected(where, pytree, replace, replace_fn)
    hidden = hide_leaves(pytree, is_leaf)
    selected = _select_stand_ins(where, hidden.tree, pytree)
    split = locate_nodes(hidden, selected, is_leaf)
    if not isinstance(split, SplitTree):
        return cast(Any, tree_at)(where, pytree, replace, replace_fn, split)
    old = _select_originals(where, hidden, split, is_leaf)
    if replace is _MISSING:
        _apply(split.parts, split.chosen, old, replace_fn)
    else:
        _put(split.parts, split.chosen, replace)
    return split.treedef.unflatten(split.parts)


def _tree_at_selected(where: Any, pytree: Any, replace: Any, replace_fn: Any) -> Any:
    """`tree_at` for a selector, which needs no stand-ins: it gives the indices of nodes."""
    nodes = find_nodes(where, pytree)
    parts = [node.value for node in nodes]
    chosen: ChosenParts = 0 if is_exact_path(where) else list(range(len(parts)))
    if replace is _MISSING:
        _apply(parts, chosen, parts[0] if chosen == 0 else parts.copy(), replace_fn)
    else:
        _put(parts, chosen, replace)
    return replace_nodes(pytree, {node.index: x for node, x in zip(nodes, parts, strict=True)})


def _select_stand_ins(where: Callable[[Any], Any], tree: Any, pytree: Any) -> Any:
    """What `where` selects of the tree with stand-ins."""
    try:
        return where(tree)
    except Exception as error:
        failure = error
    where(pytree)  # a mistake in `where` raises on the tree itself too: the user sees that
    raise WhereError(
        f"{_STRUCTURE_ONLY} it works on the tree itself, but not with stand-ins for its "
        f"leaves ({failure})."
    ) from failure


def _select_originals(
    where: Callable[[Any], Any], hidden: StandInTree, split: SplitTree, is_leaf: IsLeaf
) -> Any:
    """What `where` selects of the tree itself: the old nodes.

    **Raises:** `WhereError` if these are not the nodes that it selected among the stand-ins.
    """
    leaves = hidden.leaves
    try:
        originals = where(hidden.original)
    except Exception as error:
        raise WhereError(f"{_STRUCTURE_ONLY} it failed on the true leaves ({error}).") from error

    def same(original: Any, chosen: ChosenParts) -> bool:
        if not isinstance(chosen, int):
            fits = is_sequence(original) and len(original) == len(chosen)
            return fits and all(map(same, original, chosen))
        part = split.parts[chosen]
        if chosen not in split.nodes:
            return original is part or (type(original) is type(part) and foreign(original))
        if type(original) is not type(part):
            return False
        expected = [leaves[x.position] for x in jtu.tree_leaves(part)]
        true = jtu.tree_leaves(original, is_leaf=is_leaf)
        return len(true) == len(expected) and all(
            x is y or foreign(x) for x, y in zip(true, expected, strict=True)
        )

    def foreign(x: Any) -> bool:
        # Some nodes make new children at each access. These cannot be compared by identity, so they
        # are accepted, unless they are another leaf of the tree.
        return all(x is not leaf for leaf in leaves)

    if not same(originals, split.chosen):
        raise WhereError(
            f"{_STRUCTURE_ONLY} it chose something else when the leaves were hidden from it.",
            originals,
        )
    return originals


def _apply(
    parts: list[Any], chosen: ChosenParts, originals: Any, replace_fn: Callable[[Any], Any]
) -> None:
    """Replace each chosen part by `replace_fn` of the old node."""
    if isinstance(chosen, int):
        parts[chosen] = replace_fn(originals)
    else:
        for x, original in zip(chosen, originals, strict=True):
            _apply(parts, x, original, replace_fn)


def _put(parts: list[Any], chosen: ChosenParts, replace: Any) -> None:
    """Replace each chosen part by the new node in the same place of `replace`."""
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
