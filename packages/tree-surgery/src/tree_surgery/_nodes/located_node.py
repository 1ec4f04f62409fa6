"""A tree as places: each node with the path that leads to it, opened when somebody looks."""

import dataclasses as dc
from collections.abc import Iterator
from typing import Any

import jax.tree_util as jtu

from .key_paths import path_str
from .one_level import open_node

# Where a node is: the position of each node on the way among the children of the one above it.
# Static fields are counted after the children.
Place = tuple[int, ...]


class Spot:
    """A node of a tree, or a static field of one, and where it is."""

    __slots__ = ("_children", "_is_leaf", "_static", "key", "parent", "place", "value")

    value: Any
    key: Any
    parent: "Spot | None"
    place: Place

    def __init__(self, value: Any, key: Any = None, parent: "Spot | None" = None, at: int = 0):
        self.value = value
        self.key = key
        self.parent = parent
        self.place = () if parent is None else (*parent.place, at)
        self._children: list[Spot] | None = None
        self._static: list[Spot] | None = None
        self._is_leaf = False

    @property
    def keys(self) -> tuple[Any, ...]:
        """The key path, as JAX has them."""
        return () if self.parent is None else (*self.parent.keys, self.key)

    @property
    def path(self) -> str:
        """The path as text."""
        return path_str(self.keys)

    @property
    def children(self) -> list["Spot"]:
        """The nodes immediately below; none for a leaf."""
        if self._children is None:
            opened = open_node(self.value)
            self._is_leaf = opened is None
            keys, values = ([], []) if opened is None else opened[:2]
            self._children = [
                Spot(value, key, self, at)
                for at, (key, value) in enumerate(zip(keys, values, strict=True))
            ]
        return self._children

    @property
    def is_leaf(self) -> bool:
        """Whether JAX takes it for a leaf."""
        return not self.children and self._is_leaf

    @property
    def static(self) -> list["Spot"]:
        """The fields of a dataclass that are none of its children."""
        if self._static is None:
            first = len(self.children)
            names = static_names(self.value, [child.key for child in self.children])
            self._static = [
                Spot(getattr(self.value, name), jtu.GetAttrKey(name), self, first + i)
                for i, name in enumerate(names)
                if hasattr(self.value, name)
            ]
        return self._static

    def walk(self) -> Iterator["Spot"]:
        """This node and all below it, parents first; static fields are not gone into."""
        yield self
        for child in self.children:
            yield from child.walk()


def static_names(node: Any, keys: list[Any]) -> list[str]:
    """The fields of a dataclass that are no children of it, whether they have a value or not: what
    is rebuilt may lack one that the original has, and the others must not move up."""
    if not dc.is_dataclass(node) or isinstance(node, type):
        return []
    children = {key.name for key in keys if isinstance(key, jtu.GetAttrKey)}
    return [field.name for field in dc.fields(node) if field.name not in children]
