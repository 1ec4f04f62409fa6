"""`tree_select`, `tree_set`, `tree_apply` and `at`: reading and replacing nodes by selector.

All of them end in `replace_nodes`, which takes the new nodes by index.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar, cast, overload

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._nodes.located_node import LocatedNode, NodeIndex, static_names
from tree_surgery._nodes.one_level import open_node
from tree_surgery._public import public
from tree_surgery._select.selectors import (
    SelectorLike,
    SelectorLikeExceptType,
    find_nodes,
    is_exact_path,
)
from tree_surgery._types import Node, Tree

from .tree_replace import with_fields

_MISSING: Final[Any] = object()

_Got = TypeVar("_Got")


@overload
def tree_select(tree: object, where: type[Node]) -> dict[str, Node]: ...
@overload
def tree_select(tree: object, where: SelectorLike) -> dict[str, Any]: ...
@public
def tree_select(tree: object, where: SelectorLike) -> dict[str, Any]:
    """The selected nodes by path; `tree_set(tree, tree_select(tree, where))` is the tree itself.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector: a pattern, a type, a function of `(path, leaf)`, or a combination (see
        [`tree_surgery.where`][]).

    **Returns:**

    A dictionary from paths to nodes (leaves, inner nodes, or static fields), in the order in which
    they are in the tree.

    **Raises:**

    `WhereError` if a pattern matches nothing.

    ```python
    from tree_surgery import tree_select

    tree = {"layers": [1, (2, 3.0)]}
    assert tree_select(tree, "layers.*") == {"['layers'][0]": 1, "['layers'][1]": (2, 3.0)}
    assert tree_select(tree, float) == {"['layers'][1][1]": 3.0}
    ```
    """
    return {node.path: node.value for node in find_nodes(where, tree)}


@overload
def tree_set(tree: Tree, where: SelectorLike, value: object) -> Tree: ...
@overload
def tree_set(tree: Tree, where: Mapping[Any, object]) -> Tree: ...
@public
def tree_set(
    tree: Tree, where: SelectorLike | Mapping[Any, object], value: object = _MISSING
) -> Tree:
    """The tree is rebuilt with each selected node replaced, and else is the same.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector (see [`tree_surgery.where`][]), with `value`; or, without, a mapping from
        selectors to values.
    - `value`: what each of the selected nodes becomes: a leaf or any tree. For a static field, its
        new value.

    **Returns:**

    A new tree. The input is left as it is, and shares no container with it but `value`. Classes
    are not initialised anew: no `__init__`, `__post_init__` or converter runs.

    **Raises:**

    `WhereError` if a pattern matches nothing, or if a node is selected by two entries of a mapping
    or inside of another entry's.

    ```python
    from tree_surgery import tree_set

    tree = {"layers": [1, (2, 3.0)], "scale": None}
    assert tree_set(tree, "layers[1][0]", 7) == {"layers": [1, (7, 3.0)], "scale": None}
    assert tree_set(tree, {"layers.*": 0, "scale": 1.0}) == {"layers": [0, 0], "scale": 1.0}
    ```
    """
    if value is not _MISSING:
        return replace_nodes(tree, {node.index: value for node in find_nodes(where, tree)})
    if not isinstance(where, Mapping):
        raise WhereError("`tree_set` needs a value, or a mapping from selectors to values.", where)
    changes: dict[NodeIndex, Any] = {}
    for selector, new in cast(Mapping[Any, Any], where).items():
        for node in find_nodes(selector, tree):
            _check_disjoint(node, changes)
            changes[node.index] = new
    return replace_nodes(tree, changes)


@overload
def tree_apply(tree: Tree, where: type[Node], fn: Callable[[Node], object]) -> Tree: ...
@overload
def tree_apply(tree: Tree, where: SelectorLikeExceptType, fn: Callable[[Any], object]) -> Tree: ...
@public
def tree_apply(tree: Tree, where: SelectorLike, fn: Callable[[Any], object]) -> Tree:
    """Each selected node `x` is replaced by `fn(x)`, and else the tree is the same.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector (see [`tree_surgery.where`][]).
    - `fn`: a function from the old node to the new one.

    **Returns:**

    A new tree. The input is left as it is.

    **Raises:**

    `WhereError` if a pattern matches nothing. Whatever `fn` raises, with a note of the path.

    ```python
    from tree_surgery import tree_apply

    tree = {"layers": [1, (2, 3.0)]}
    assert tree_apply(tree, "**", lambda x: 2 * x) == {"layers": [2, (4, 6.0)]}
    assert tree_apply(tree, tuple, sum) == {"layers": [1, 5.0]}
    ```
    """
    return replace_nodes(
        tree, {node.index: _call_with_note(fn, node) for node in find_nodes(where, tree)}
    )


class At(Generic[Tree]):
    """What `at(tree)` returns: a tree to be indexed with a selector."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Tree):
        self._tree = tree

    @overload
    def __getitem__(self, where: type[Node]) -> "Selection[Tree, Node, dict[str, Node]]": ...
    @overload
    def __getitem__(self, where: str) -> "Selection[Tree, Any, Any]": ...
    @overload
    def __getitem__(
        self, where: SelectorLikeExceptType
    ) -> "Selection[Tree, Any, dict[str, Any]]": ...
    def __getitem__(self, where: Any) -> "Selection[Tree, Any, Any]":
        return Selection(self._tree, where)


class Selection(Generic[Tree, Node, _Got]):
    """What `at(tree)[where]` returns: the selected nodes of one tree."""

    __slots__ = ("_tree", "_where")

    def __init__(self, tree: Tree, where: Any):
        self._tree = tree
        self._where = where

    def get(self) -> _Got:
        """The node at an exact path; for every other selector, `tree_select(tree, where)`."""
        if is_exact_path(self._where):
            (node,) = find_nodes(self._where, self._tree)
            return node.value
        found: Any = tree_select(self._tree, self._where)
        return found

    def set(self, value: object) -> Tree:
        """`tree_set(tree, where, value)`."""
        return tree_set(self._tree, self._where, value)

    def apply(self, fn: Callable[[Node], object]) -> Tree:
        """`tree_apply(tree, where, fn)`."""
        return tree_apply(self._tree, self._where, fn)


@public
def at(tree: Tree) -> At[Tree]:
    """`at(tree)[where]` are the selected nodes of a tree, to `get`, `set` or `apply` a function to.

    **Arguments:**

    - `tree`: a PyTree.

    **Returns:**

    What is to be indexed with a selector (see [`tree_surgery.where`][]):

    - `at(tree)[where].get()` is the node at an exact path; for every other selector it is
        `tree_select(tree, where)`, a dictionary;
    - `at(tree)[where].set(value)` is `tree_set(tree, where, value)`;
    - `at(tree)[where].apply(fn)` is `tree_apply(tree, where, fn)`.

    ```python
    from tree_surgery import at

    tree = {"layers": [1, (2, 3.0)]}
    assert at(tree)["layers[1][0]"].get() == 2
    assert at(tree)["layers[1][0]"].set(5) == {"layers": [1, (5, 3.0)]}
    assert at(tree)["layers[1].*"].apply(str) == {"layers": [1, ("2", "3.0")]}
    ```
    """
    return At(tree)


def replace_nodes(tree: Any, changes: dict[NodeIndex, Any]) -> Any:
    """The tree with new nodes at some indices, which do not lie within each other.

    All containers are new, as after `jax.tree.map`. If both trees shared a list, a change of it in
    one would show in the other.
    """
    leaves, treedef = jtu.tree_flatten(tree)
    return _replace_below(treedef.unflatten(leaves), changes)


def _replace_below(node: Any, changes: dict[NodeIndex, Any]) -> Any:
    """`replace_nodes`, with indices from `node` on, which is rebuilt where a change requires it."""
    if not changes:
        return node
    if () in changes:
        return changes[()]
    below: dict[int, dict[NodeIndex, Any]] = {}
    for index, value in changes.items():
        below.setdefault(index[0], {})[index[1:]] = value
    opened = open_node(node)
    keys, children, treedef = ([], [], None) if opened is None else opened
    static: dict[str, Any] = {}
    for position, inner in below.items():
        if position < len(children):
            children[position] = _replace_below(children[position], inner)
        else:
            name = static_names(node, keys)[position - len(children)]
            static[name] = inner[()] if () in inner else _replace_below(getattr(node, name), inner)
    if treedef is not None and min(below) < len(children):
        node = treedef.unflatten(children)
    return with_fields(node, static) if static else node


def _call_with_note(fn: Callable[[Any], Any], node: LocatedNode) -> Any:
    try:
        return fn(node.value)
    except Exception as error:
        error.add_note(
            f"This was raised by the function that `tree_apply` called on `{node.path}`."
        )
        raise


def _check_disjoint(node: LocatedNode, changes: dict[NodeIndex, Any]) -> None:
    index = node.index
    for other in changes:
        if other[: len(index)] == index or index[: len(other)] == other:
            raise WhereError(
                f"`tree_set` was given two values for `{node.path}`, or for nodes within it or "
                "around it. Let the selectors of a mapping select different parts.",
                node.value,
            )
