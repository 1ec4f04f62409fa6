"""`LocatedNode`: a node of a tree together with its path and its index.

Nodes are opened on demand, so that a walk to one leaf does not flatten the rest of the tree.
"""

import dataclasses as dc
from collections.abc import Iterator
from typing import Any

import jax.tree_util as jtu

from .key_paths import path_str
from .one_level import open_node

NodeIndex = tuple[int, ...]
"""The positions, from the root down, of a node and of each of its ancestors among their siblings.

Static fields are counted after the children. Two nodes have the same index only if they are in the
same place, even if they are one object; a prefix of an index is the index of an ancestor.
"""


class LocatedNode:
    """A node of a tree, or a static field of a node, with its place in the tree.

    - `value`: the node itself.
    - `key`: the key under which the parent holds it; `None` for the root.
    - `parent`: the node above; `None` for the root.
    - `index`: the `NodeIndex` of the node.
    """

    __slots__ = ("_children", "_is_leaf", "_static", "index", "key", "parent", "value")

    value: Any
    key: Any
    parent: "LocatedNode | None"
    index: NodeIndex

    def __init__(
        self,
        value: Any,
        key: Any = None,
        parent: "LocatedNode | None" = None,
        position: int = 0,
    ):
        self.value = value
        self.key = key
        self.parent = parent
        self.index = () if parent is None else (*parent.index, position)
        self._children: list[LocatedNode] | None = None
        self._static: list[LocatedNode] | None = None
        self._is_leaf = False

    @property
    def keys(self) -> tuple[Any, ...]:
        """The key path from the root, as in `jax.tree_util`."""
        return () if self.parent is None else (*self.parent.keys, self.key)

    @property
    def path(self) -> str:
        """The key path as text, as `path_str` writes it."""
        return path_str(self.keys)

    @property
    def children(self) -> list["LocatedNode"]:
        """The nodes one level below. Empty for a leaf."""
        if self._children is None:
            opened = open_node(self.value)
            self._is_leaf = opened is None
            keys, values = ([], []) if opened is None else opened[:2]
            self._children = [
                LocatedNode(value, key, self, position)
                for position, (key, value) in enumerate(zip(keys, values, strict=True))
            ]
        return self._children

    @property
    def is_leaf(self) -> bool:
        """Whether JAX treats the node as a leaf."""
        return not self.children and self._is_leaf

    @property
    def static(self) -> list["LocatedNode"]:
        """The fields of a dataclass that JAX does not list among its children."""
        if self._static is None:
            first = len(self.children)
            names = static_names(self.value, [child.key for child in self.children])
            self._static = [
                LocatedNode(getattr(self.value, name), jtu.GetAttrKey(name), self, first + i)
                for i, name in enumerate(names)
                if hasattr(self.value, name)
            ]
        return self._static

    def walk(self) -> Iterator["LocatedNode"]:
        """This node and all its descendants, parents first. Static fields are not visited."""
        yield self
        for child in self.children:
            yield from child.walk()


def static_names(node: Any, keys: list[Any]) -> list[str]:
    """The names of the fields of a dataclass that JAX does not list among its children.

    A field without a value is named too. A node may lose such a value when it is rebuilt, and the
    positions of the other fields must stay the same.
    """
    if not dc.is_dataclass(node) or isinstance(node, type):
        return []
    children = {key.name for key in keys if isinstance(key, jtu.GetAttrKey)}
    return [field.name for field in dc.fields(node) if field.name not in children]
