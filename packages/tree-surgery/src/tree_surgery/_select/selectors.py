"""Selectors: objects that select nodes of any tree by path, type, predicate, or a combination.

A selected node stands for itself and all nodes within it. So a selection has two parts: the nodes
that were selected, and a test whether the node at some index lies in the selection (`covers`).
Unions, intersections and complements are computed from these two.
"""

import inspect
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeAlias, cast

from tree_surgery._errors import WhereError
from tree_surgery._nodes.located_node import LocatedNode, NodeIndex
from tree_surgery._public import public
from tree_surgery._types import Kind, Predicate

from .match_pattern import match_pattern, no_match_error
from .path_pattern import is_exact, parse


class SelectedNodes:
    """What a selector selects of one tree.

    - `nodes`: the selected nodes by index. Some may lie within others.
    - `covers`: whether the node at an index is selected or lies within a selected node.
    """

    __slots__ = ("covers", "nodes")

    nodes: dict[NodeIndex, LocatedNode]
    covers: Callable[[NodeIndex], bool]

    def __init__(self, nodes: dict[NodeIndex, LocatedNode], covers: Callable[[NodeIndex], bool]):
        self.nodes = nodes
        self.covers = covers


@public
class Selector:
    """A selector says which nodes of a tree are meant; it can be used on any tree.

    Selectors are made by [`tree_surgery.where`][] and combined: `a | b` selects what either of
    them does; `a & b` what both do; `~a` the leaves that `a` leaves out. A node stands for all that
    is within it, so that `where.path("encoder") & where.type(jax.Array)` are the arrays in the
    encoder. Of selected nodes within each other the outermost counts. Seen as sets of leaves,
    selectors are a Boolean algebra.

    Wherever a function takes a selector, it takes a string, a type or a function as well, and a
    list or tuple of these for a union.

    ```python
    from tree_surgery import tree_select, where

    tree = {"encoder": [1, 2.0], "decoder": [3, 4.0]}
    ints = where.path("encoder") & where.type(int)
    assert tree_select(tree, ints) == {"['encoder'][0]": 1}
    assert list(tree_select(tree, ~ints)) == ["['decoder'][0]", "['decoder'][1]", "['encoder'][1]"]
    ```
    """

    __slots__ = ()

    def __or__(self, other: "SelectorLike") -> "Selector":
        return UnionSelector(self, as_selector(other))

    def __ror__(self, other: "SelectorLike") -> "Selector":
        return UnionSelector(as_selector(other), self)

    def __and__(self, other: "SelectorLike") -> "Selector":
        return IntersectionSelector(self, as_selector(other))

    def __rand__(self, other: "SelectorLike") -> "Selector":
        return IntersectionSelector(as_selector(other), self)

    def __invert__(self) -> "Selector":
        return ComplementSelector(self)

    def find(self, root: LocatedNode) -> SelectedNodes:
        """What is selected of the tree below `root`. For the functions of this library."""
        raise NotImplementedError


SelectorLikeExceptType: TypeAlias = (
    str | UnionType | Selector | Predicate | Sequence["SelectorLike"]
)
"""As `SelectorLike`, but for classes: for overloads, since a class says the type of the nodes."""
SelectorLike: TypeAlias = Kind | SelectorLikeExceptType
"""What every function of this distribution accepts as a selector (see `as_selector`)."""


class PathSelector(Selector):
    """`where.path`: the nodes whose path matches a pattern."""

    __slots__ = ("optional", "pattern")

    def __init__(self, pattern: str, optional: bool = False):
        self.pattern = pattern
        self.optional = optional

    def __repr__(self) -> str:
        return f"where.path({self.pattern!r}{', optional=True' if self.optional else ''})"

    def find(self, root: LocatedNode) -> SelectedNodes:
        nodes = match_pattern(self.pattern, root)
        if not nodes and not self.optional:
            raise no_match_error(self.pattern, root)
        return _selected(nodes)


class TypeSelector(Selector):
    """`where.type`: the nodes and leaves that are instances of one of some types."""

    __slots__ = ("kinds",)

    def __init__(self, kinds: tuple[Kind, ...]):
        self.kinds = kinds

    def __repr__(self) -> str:
        names = (getattr(kind, "__qualname__", str(kind)) for kind in self.kinds)
        return f"where.type({', '.join(names)})"

    def find(self, root: LocatedNode) -> SelectedNodes:
        return _selected([node for node in root.walk() if isinstance(node.value, self.kinds)])


class LeafSelector(Selector):
    """`where.leaf`: the leaves for which a predicate of path and value is true."""

    __slots__ = ("predicate",)

    def __init__(self, predicate: Predicate):
        self.predicate = predicate

    def __repr__(self) -> str:
        return f"where.leaf({getattr(self.predicate, '__qualname__', self.predicate)})"

    def find(self, root: LocatedNode) -> SelectedNodes:
        _check_takes_path_and_leaf(self.predicate)
        leaves = (node for node in root.walk() if node.is_leaf)
        return _selected([node for node in leaves if self.predicate(node.path, node.value)])


class UnionSelector(Selector):
    """`one | other`: what either selector selects."""

    __slots__ = ("one", "other")

    def __init__(self, one: Selector, other: Selector):
        self.one = one
        self.other = other

    def __repr__(self) -> str:
        return f"({self.one!r} | {self.other!r})"

    def find(self, root: LocatedNode) -> SelectedNodes:
        a, b = self.one.find(root), self.other.find(root)
        return SelectedNodes(a.nodes | b.nodes, lambda index: a.covers(index) or b.covers(index))


class IntersectionSelector(Selector):
    """`one & other`: the nodes of either selector that lie in the selection of the other."""

    __slots__ = ("one", "other")

    def __init__(self, one: Selector, other: Selector):
        self.one = one
        self.other = other

    def __repr__(self) -> str:
        return f"({self.one!r} & {self.other!r})"

    def find(self, root: LocatedNode) -> SelectedNodes:
        a, b = self.one.find(root), self.other.find(root)
        nodes = {index: node for index, node in a.nodes.items() if b.covers(index)}
        nodes |= {index: node for index, node in b.nodes.items() if a.covers(index)}
        return SelectedNodes(nodes, lambda index: a.covers(index) and b.covers(index))


class ComplementSelector(Selector):
    """`~one`: the leaves that a selector does not select."""

    __slots__ = ("one",)

    def __init__(self, one: Selector):
        self.one = one

    def __repr__(self) -> str:
        return f"~{self.one!r}"

    def find(self, root: LocatedNode) -> SelectedNodes:
        one = self.one.find(root)
        # An inner node lies in the complement only if nothing below it is selected.
        above = {index[:i] for index in one.nodes for i in range(len(index))}
        leaves = [s for s in root.walk() if s.is_leaf and not one.covers(s.index)]
        return SelectedNodes(
            {node.index: node for node in leaves},
            lambda index: index not in above and not one.covers(index),
        )


def as_selector(where: Any) -> Selector:
    """The selector that a pattern, a type, a predicate, or a list or tuple of these stands for."""
    if isinstance(where, Selector):
        return where
    if isinstance(where, str):
        return PathSelector(where)
    if isinstance(where, type | UnionType):
        return TypeSelector((where,))
    if isinstance(where, list | tuple) and where:
        first, *rest = map(as_selector, cast(Sequence[Any], where))
        for other in rest:
            first = UnionSelector(first, other)
        return first
    if callable(where):
        return LeafSelector(cast(Any, where))
    raise WhereError(
        "What to select must be a pattern such as `'layers.*.weight'`, a type, a function of "
        f"`(path, leaf)`, or a combination of these by `where`, but it is `{where!r}` of type "
        f"`{type(where).__name__}`.",
        where,
    )


def find_nodes(where: Any, tree: Any) -> list[LocatedNode]:
    """The selected nodes in the order of the tree, without those that lie within another."""
    root = LocatedNode(tree)
    selected = as_selector(where).find(root).nodes
    if len(selected) == 1:
        return list(selected.values())
    nodes: list[LocatedNode] = []
    for index, node in sorted(selected.items()):  # the nodes within a node directly follow it
        if not (nodes and index[: len(nodes[-1].index)] == nodes[-1].index):
            nodes.append(node)
    return nodes


def is_exact_path(where: Any) -> bool:
    """Whether a selector is a pattern that matches one node at most, whatever the tree."""
    return isinstance(where, str) and is_exact(parse(where))


def selection_mask(where: Any, tree: Any) -> list[bool]:
    """For each leaf of a tree, in order, whether it is selected or lies within a selected node."""
    root = LocatedNode(tree)
    # `covers` of a combination asks each of its parts for each leaf. Here one test is made of all.
    covers = _selected(list(as_selector(where).find(root).nodes.values())).covers
    return [covers(node.index) for node in root.walk() if node.is_leaf]


def _check_takes_path_and_leaf(predicate: Predicate) -> None:
    try:
        signature = inspect.signature(predicate)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return
    try:
        signature.bind("", None)
    except TypeError as error:
        raise WhereError(
            "A function that selects is called on the path and the value of each leaf, as in "
            f"`lambda path, leaf: ...`, but got one of the signature `{signature}`. (A function of "
            "the whole tree is for `tree_at`: here, write the path that it goes as a pattern.)",
            predicate,
        ) from error


def _selected(nodes: list[LocatedNode]) -> SelectedNodes:
    """The selection of these nodes. It covers the indices that begin with the index of one."""
    by_index = {node.index: node for node in nodes}
    lengths = sorted({len(index) for index in by_index})

    def covers(index: NodeIndex) -> bool:
        return any(index[:n] in by_index for n in lengths if n <= len(index))

    return SelectedNodes(by_index, covers)
