"""One level of a tree at a time."""

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
    """The immediate children of a node with their keys; nothing for a leaf or an empty node."""
    opened = open_node(node)
    return (
        [] if opened is None else [((key,), child) for key, child in zip(*opened[:2], strict=True)]
    )


def open_node(node: Any) -> tuple[list[Any], list[Any], PyTreeDef] | None:
    """The keys and the children of a node, and the treedef that puts them together; `None` for a
    leaf."""
    if jtu.all_leaves([node]):
        return None
    pairs, treedef = jtu.tree_flatten_with_path(node, is_leaf=_below(node))
    return [path[0] for path, _ in pairs], [child for _, child in pairs], treedef


def _below(node: Any) -> Any:
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
