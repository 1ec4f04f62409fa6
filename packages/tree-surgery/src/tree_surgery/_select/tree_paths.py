"""`tree_paths`: the paths of the leaves of a tree, or of its selected nodes."""

from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._public import public

from .selectors import SelectorLike, find_nodes


@public
def tree_paths(tree: object, where: SelectorLike | None = None) -> list[str]:
    """The paths of the leaves of a tree, each of which is a pattern that selects that leaf alone.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector (see [`tree_surgery.where`][]). If it is given, the paths of what it
        selects, leaves and inner nodes.

    **Returns:**

    A list of strings, as [`tree_surgery.path_str`][] writes them, in the order of
    `jax.tree_util.tree_leaves`.

    **Raises:**

    `WhereError` if a pattern matches nothing.

    ```python
    from tree_surgery import tree_paths

    tree = {"layers": [1, (2, 3)], "scale": None}
    assert tree_paths(tree) == ["['layers'][0]", "['layers'][1][0]", "['layers'][1][1]"]
    assert tree_paths(tree, "layers.*") == ["['layers'][0]", "['layers'][1]"]
    ```
    """
    if where is None:
        return [node.path for node in LocatedNode(tree).walk() if node.is_leaf]
    return [node.path for node in find_nodes(where, tree)]
