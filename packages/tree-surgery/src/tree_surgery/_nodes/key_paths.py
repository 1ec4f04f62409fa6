"""Key paths as text. Every error message, table and file name writes a path in this one way."""

from typing import Any

import jax.tree_util as jtu

from tree_surgery._public import public


@public
def path_str(path: tuple[Any, ...]) -> str:
    """A key path reads as the Python expression that reaches the node from the root.

    Attributes are dotted, indices and dictionary keys are bracketed, and the leading dot is
    left out: `layers[0].weight`, `['params'].bias`.

    **Arguments:**

    - `path`: a key path, as `jax.tree_util.tree_flatten_with_path` and
        `jax.tree_util.tree_map_with_path` give it.

    **Returns:**

    A string; for the empty path, which is the tree itself, `<root>`.

    ```python
    import jax.tree_util as jtu
    from tree_surgery import path_str

    ((path, leaf),) = jtu.tree_leaves_with_path({"layers": [3.0]})
    assert path_str(path) == "['layers'][0]"
    ```
    """
    return jtu.keystr(path).removeprefix(".") or "<root>"


def leaf_paths(tree: Any, is_leaf: Any = None) -> list[str]:
    """The path of every leaf, in the order of `jax.tree_util.tree_leaves`. Slow: for messages."""
    return [path_str(path) for path, _ in jtu.tree_leaves_with_path(tree, is_leaf=is_leaf)]
