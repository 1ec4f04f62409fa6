"""The errors of `tree_at`: why what `where` returned is not a node of the tree.

Nothing here runs unless an error is raised, so it may be slow.
"""

import dataclasses as dc
from collections.abc import Iterator
from typing import Any, Final

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._jax import PyTreeDef
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.one_level import children_with_keys

from .stand_ins import StandIn, find_rewriting_node

_NOTHING: Final[Any] = object()


def explain_place(x: Any, tree: Any) -> str:
    """The path of an object in the tree. If it is not in the tree, its type."""
    for path, node in _walk((), tree):
        if node is x:
            return f"`{path_str(path)}`"
    return f"a `{type(x).__name__}`"


def explain_ambiguous(x: Any, times: int) -> str:
    """Why an object that is in several places of the tree does not say which node is meant."""
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
    """Raise if `where` changed the tree. (A node whose unflattening replaces children may have.)"""
    if jtu.tree_leaves(treedef.unflatten(stand_ins)) == stand_ins:
        raise WhereError("`where` must only look at the tree, but it changed it.")


def explain_missing(x: Any, pytree: Any, tree: Any, within: Any = _NOTHING) -> str:
    """Why an object is not a node of the tree. `within`: all that `where` returned."""
    rewriting = find_rewriting_node(pytree)
    if rewriting is not None:
        path, node = rewriting
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
    static = _find_static_field(x, tree) or _find_static_field(within, tree)
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
        f"`where` must choose nodes of the tree, but chose {_repr_and_type(x)}, which is none. Is "
        "it static, or computed, or made anew by `where`? A sequence of nodes must be a list or a "
        "tuple."
    )


def _repr_and_type(x: Any) -> str:
    text = repr(x)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"`{text}` of type `{type(x).__name__}`"


def _find_static_field(x: Any, tree: Any) -> tuple[tuple[Any, ...], Any, str] | None:
    """The path, node and name of the first field of a dataclass that holds `x`."""
    if x is _NOTHING:
        return None
    for path, node in _walk((), tree):
        if dc.is_dataclass(node) and not isinstance(node, type):
            for field in dc.fields(node):
                if getattr(node, field.name, _NOTHING) is x:
                    return path, node, field.name
    return None


def _walk(path: tuple[Any, ...], node: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every node and leaf with its key path, parents first."""
    yield path, node
    for key, child in children_with_keys(node):
        yield from _walk(path + key, child)
