"""`tree_check`: that no node of a PyTree is in two places, or contains itself."""

from typing import Any, cast

import jax.tree_util as jtu
import numpy as np

from tree_surgery._public import public

from .key_paths import path_str
from .one_level import children_with_keys

# A tuple of these may be one object in many places. It holds no state, so that its copies cannot
# diverge.
_CONSTANTS = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(...),
    np.dtype,
    np.generic,
    type,
)


@public
def tree_check(pytree: object) -> None:
    """No node of a well-formed tree is in it twice, and none contains itself.

    JAX copies a node that is in two places into two nodes as soon as the tree is flattened, as at
    every `jax.jit`; layers that were meant to be shared then go separate ways. Leaves may be in
    as many places as you like, and so may nodes without leaves and tuples of constants, such as the
    `(1, 2)` that Python itself makes one object of.

    **Arguments:**

    - `pytree`: the tree.

    **Returns:**

    `None`.

    **Raises:**

    `ValueError` that names both paths of a repeated node, or of a node and itself further down.

    ```python
    from tree_surgery import tree_check

    layer = [1.0, 2.0]
    tree_check([[1.0, 2.0], [1.0, 2.0]])
    try:
        tree_check({"encoder": layer, "decoder": layer})
    except ValueError as error:
        assert "['decoder']" in str(error) and "['encoder']" in str(error)
    ```
    """
    if _repeats(pytree):
        _check((), pytree, {}, {})


def _repeats(pytree: Any) -> bool:
    """Whether some node may be in the tree twice.

    This is one pass in C++ that knows no paths. Only if it finds something, the slow walk with
    paths runs.
    """
    seen: dict[int, Any] = {}  # keeps the nodes alive, so that each `id` stays unique
    again: list[Any] = []

    def visit(x: Any) -> bool:
        if id(x) in seen:
            again.append(x)
            return True  # do not descend again: the node may contain itself
        seen[id(x)] = x
        return False

    jtu.tree_flatten(pytree, is_leaf=visit)
    return not all(_is_constant(x) or jtu.all_leaves([x]) for x in again)


def _check(
    path: tuple[Any, ...],
    node: Any,
    seen: dict[int, tuple[Any, ...]],
    above: dict[int, tuple[Any, ...]],
) -> None:
    """Raise if `node` is in `seen`, the nodes met so far, or in `above`, its ancestors."""
    if id(node) in above:
        raise ValueError(
            f"The PyTree node of type `{type(node).__name__}` at `{path_str(above[id(node)])}` "
            f"contains itself, at `{path_str(path)}`. Such a tree has no end; put a copy there, or "
            "leave it out."
        )
    children = children_with_keys(node)
    if not children:
        return
    first = seen.setdefault(id(node), path)
    if first is not path and not _is_harmless(node):
        raise ValueError(
            f"The PyTree node of type `{type(node).__name__}` at `{path_str(path)}` is the same "
            f"object as the one at `{path_str(first)}`. JAX makes two nodes of it when the tree is "
            "flattened, as at every `jax.jit`, and they will no longer be shared. Keep it in one "
            "place and refer to it, or put a copy in the other."
        )
    above[id(node)] = path
    for key, child in children:
        _check(path + key, child, seen, above)
    del above[id(node)]


def _is_harmless(node: Any) -> bool:
    """Whether copies of a node cannot diverge: it holds no leaves, or constants only."""
    return not jtu.tree_leaves(node) or _is_constant(node)


def _is_constant(x: Any) -> bool:
    if isinstance(x, tuple):
        return all(map(_is_constant, cast(tuple[Any, ...], x)))
    return isinstance(x, _CONSTANTS)
