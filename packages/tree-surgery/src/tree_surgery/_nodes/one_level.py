"""Flattening a node by one level: its children, their keys, and the treedef that rebuilds it."""

from typing import Any

import jax.tree_util as jtu

from tree_surgery._jax import PyTreeDef
from tree_surgery._public import public


@public
def tree_flatten_one_level(pytree: object) -> tuple[list[Any], PyTreeDef]:
    """The immediate children of a node are its leaves, however deep they go on themselves.

    **Arguments:**

    - `pytree`: any PyTree.

    **Returns:**

    The list of children and the treedef that puts exactly these children together again. `None`
    is a child like any other. A leaf is its own only child.

    **Raises:**

    `ValueError` if a node is its own child, as after `x = []; x.append(x)`.

    ```python
    from tree_surgery import tree_flatten_one_level

    children, treedef = tree_flatten_one_level([(1, 2), None])
    assert children == [(1, 2), None]
    assert treedef.unflatten(["a", "b"]) == ["a", "b"]
    ```
    """
    children, treedef = jtu.tree_flatten(pytree, is_leaf=_below(pytree))
    return children, treedef


def children_with_keys(node: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The children of a node, each with its key path of one step. Empty for a leaf."""
    opened = open_node(node)
    return (
        [] if opened is None else [((key,), child) for key, child in zip(*opened[:2], strict=True)]
    )


def open_node(node: Any) -> tuple[list[Any], list[Any], PyTreeDef] | None:
    """The keys of a node, its children, and the treedef that rebuilds it. `None` for a leaf."""
    if jtu.all_leaves([node]):
        return None
    pairs, treedef = jtu.tree_flatten_with_path(node, is_leaf=_below(node))
    return [path[0] for path, _ in pairs], [child for _, child in pairs], treedef


def _below(node: Any) -> Any:
    """An `is_leaf` that stops below the root of `node`.

    JAX calls `is_leaf` on the root first. It is told apart by order, not by identity: a node that
    contains itself must be refused, and `None` and `()` are one object wherever they are.
    """
    at_root = True

    def is_leaf(x: Any) -> bool:
        nonlocal at_root
        if at_root:
            at_root = False
            return False
        if x is node and x is not None and x != ():
            raise ValueError(
                f"A PyTree node of type `{type(node).__name__}` is its own child (as after "
                "`x = []; x.append(x)`). Such a tree has no end; put a copy there, or leave it out."
            )
        return True

    return is_leaf
