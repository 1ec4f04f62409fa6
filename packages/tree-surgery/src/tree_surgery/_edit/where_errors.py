"""What to say when `tree_at` cannot find what `where` returned. Run on the way to an error only."""

import dataclasses as dc
from typing import Any

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.one_level import children_with_keys

from .stand_ins import StandIn, find_rewritten


def explain_place(x: Any, tree: Any) -> str:
    """Where in the tree an object is."""
    for path, node in _walk((), tree):
        if node is x:
            return f"`{path_str(path)}`"
    return f"a `{type(x).__name__}`"


def explain_ambiguous(x: Any, times: int) -> str:
    """Why an object that is in the tree several times is not the name of one node."""
    if x is None:
        return (
            f"`where` chose a `None`, but the tree has {times} of them, and there is no telling "
            "which is meant. Say that they are leaves, and they are told apart by position: "
            "`tree_at(..., is_leaf=lambda x: x is None)`."
        )
    return (
        f"`where` chose a `{type(x).__name__}` that is one object in {times} places of the tree, "
        "so there is no telling which is meant. Treat it as a leaf with `is_leaf=...`."
    )


def explain_changed(treedef: PyTreeDef, stand_ins: list[Any]) -> None:
    """Raise if it was `where` that changed the tree, and not a node that rebuilds itself so."""
    if jtu.tree_leaves(treedef.unflatten(stand_ins)) == stand_ins:
        raise WhereError("`where` must only look at the tree, but it changed it.")


def explain_missing(x: Any, pytree: Any, tree: Any, within: Any = StandIn) -> str:
    """Why an object, selected in the sequence `within`, is not a node of the tree."""
    rewritten = find_rewritten(pytree)
    if rewritten is not None:
        path, node = rewritten
        return (
            f"`tree_at` cannot look into the node of type `{type(node).__name__}` at "
            f"`{path_str(path)}`: putting it together again does not keep the children that it is "
            "given. The unflattening of a PyTree node must not convert or replace its children."
        )
    inside = explain_place(x, tree)
    if inside.startswith("`"):
        return (
            f"`where` chose {inside} and also a node around it. Choose one of them: replacing "
            "the outer one replaces the inner one too."
        )
    static = _find_static(x, tree) or _find_static(within, tree)
    if static is not None:
        path, node, name = static
        return (
            f"`where` chose `{name}` of the `{type(node).__name__}` at `{path_str(path)}`, which "
            "is static: it is part of the structure of the tree, not a node in it. Set it by its "
            f"path: `tree_set(tree, {path_str((*path, jtu.GetAttrKey(name)))!r}, ...)`."
        )
    if type(x) is StandIn:
        return "`where` chose a leaf of another tree, not of the one that it was called on."
    return (
        f"`where` must choose nodes of the tree, but chose {_describe(x)}, which is none. Is it "
        "static, or computed, or made anew by `where`? A sequence of nodes must be a list or a "
        "tuple."
    )


def _describe(x: Any) -> str:
    text = repr(x)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"`{text}` of type `{type(x).__name__}`"


def _find_static(x: Any, tree: Any) -> tuple[tuple[Any, ...], Any, str] | None:
    """A field of a dataclass node that holds `x` without `x` being a child of that node."""
    if x is StandIn:
        return None
    for path, node in _walk((), tree):
        if dc.is_dataclass(node) and not isinstance(node, type):
            for field in dc.fields(node):
                if getattr(node, field.name, StandIn) is x:
                    return path, node, field.name
    return None


def _walk(path: tuple[Any, ...], node: Any) -> Any:
    yield path, node
    for key, child in children_with_keys(node):
        yield from _walk(path + key, child)
