"""The types of the public interface."""

import os
from collections.abc import Callable
from types import UnionType
from typing import Any, Protocol, TypeAlias, TypeVar

from jax.sharding import AbstractMesh, Mesh

Tree = TypeVar("Tree")
"""A tree that comes back as another of the same type."""
Node = TypeVar("Node")
"""A node of a tree."""

Kind: TypeAlias = type[object] | UnionType
"""What a node may be an instance of."""
Predicate: TypeAlias = Callable[[str, Any], object]
"""A function of the path and the value of a leaf, as `where.leaf` takes it."""


class Readable(Protocol):
    """A binary file object to read from. (What `gzip` and its like open is no `BinaryIO`.)"""

    def read(self, size: int, /) -> bytes | None: ...


class Writable(Protocol):
    """A binary file object to write to."""

    def write(self, data: bytes, /) -> object: ...


FilePath: TypeAlias = str | os.PathLike[str]
ToRead: TypeAlias = FilePath | Readable
ToWrite: TypeAlias = FilePath | Writable

AnyMesh: TypeAlias = Mesh | AbstractMesh
"""Devices in named axes; an `AbstractMesh` has the axes and no devices."""
