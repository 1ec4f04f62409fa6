"""Saving and loading: what `tree_surgery` says of files and of what is read from them.

Checked by pyright and mypy, never run.
"""

import gzip
import io
import tempfile
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, assert_type

import jax
import jax.numpy as jnp
import numpy as np

from pytree_module import Module
from tree_surgery import (
    FileInfo,
    LeafInfo,
    LoadReport,
    Mismatch,
    SerialisableLeaf,
    SerialiseError,
    default_deserialise_filter_spec,
    default_serialise_filter_spec,
    from_state_dict,
    load,
    load_state_dict,
    peek,
    save,
    to_state_dict,
    tree_deserialise_leaves,
    tree_fingerprint,
    tree_serialise_leaves,
)


class Net(Module):
    weight: jax.Array


net = Net(jnp.ones(3))


# Paths, and binary file objects of every kind.

save("net", net)
save(Path("net"), net, metadata={"width": 3, "name": "net"})
save(io.BytesIO(), net)
with open("net", "wb") as to_write, gzip.open("net", "wb") as zipped:
    save(to_write, net)
    save(zipped, net)
    tree_serialise_leaves(zipped, net)

assert_type(load("net", net), Net)
assert_type(load(Path("net"), net), Net)
assert_type(load(io.BytesIO(), net), Net)
with open("net", "rb") as to_read, gzip.open("net") as zipped, tempfile.TemporaryFile() as file:
    assert_type(load(to_read, net), Net)
    assert_type(load(zipped, net), Net)
    assert_type(load(file, net), Net)
    assert_type(peek(zipped), FileInfo)
    assert_type(tree_deserialise_leaves(zipped, net), Net)


class Pipe:
    """A reader and writer of one's own."""

    def read(self, size: int = -1) -> bytes:
        return b""

    def write(self, data: bytes) -> int:
        return len(data)


save(Pipe(), net)
assert_type(load(Pipe(), net), Net)


# What is loaded.

assert_type(load("net", net, strict=True), Net)
assert_type(load("net", net, strict=False), tuple[Net, LoadReport])
assert_type(load("net", net, False), tuple[Net, LoadReport])
assert_type(load("net", net, dtype="like", rename={"w": "weight", "old": None}), Net)
assert_type(load("net", net, dtype=jnp.bfloat16, rename=lambda name: name or None), Net)
assert_type(load("net", {"net": net}), dict[str, Net])


def loaded(strict: bool) -> None:
    assert_type(load("net", net, strict), Net | tuple[Net, LoadReport])


like, report = load("net", net, strict=False)
assert_type(report.missing, list[str])
assert_type(report.mismatched, list[Mismatch])
assert_type(report.mismatched[0].found, LeafInfo)

info = peek("net")
assert_type(info.leaves["weight"].shape, tuple[int, ...] | None)
assert_type(info.version, int | None)
assert_type(tree_fingerprint(net), str)

assert_type(load_state_dict("net"), dict[str, Any])
assert_type(to_state_dict(net, split="layers", transpose={"weight": (1, 0)}), dict[str, Any])
assert_type(from_state_dict({"weight": np.ones(3)}, net), Net)
assert_type(from_state_dict(load_state_dict("net"), net, join=["layers"], dtype="like"), Net)
assert_type(from_state_dict({}, net, strict=False), tuple[Net, LoadReport])

try:
    load("net", net)
except SerialiseError as error:
    assert_type(error.path, str | None)
    assert_type(error.report, LoadReport | None)


# Leaves of one's own, and how one is written and read.


class Counter:
    def __init__(self, count: int) -> None:
        self.count = count

    def __serialise_leaf__(self, f: BinaryIO) -> None:
        default_serialise_filter_spec(f, self.count)

    def __deserialise_leaf__(self, f: IO[bytes]) -> Self:
        return type(self)(default_deserialise_filter_spec(f, self.count))


leaf: SerialisableLeaf = Counter(3)


def write_leaf(f: BinaryIO, x: Any) -> None:
    np.save(f, x)


def read_leaf(f: IO[bytes], x: jax.ShapeDtypeStruct) -> Any:
    assert_type(default_deserialise_filter_spec(f, 3), int)
    assert_type(default_deserialise_filter_spec(f, x), jax.Array)
    return np.load(f)


tree_serialise_leaves("net", net, filter_spec=write_leaf)
tree_serialise_leaves("net", net, lambda f, x: assert_type(f, BinaryIO).close())
tree_serialise_leaves("net", {"a": 1}, {"a": write_leaf}, is_leaf=lambda x: x is None)
assert_type(tree_deserialise_leaves("net", net, read_leaf), Net)
assert_type(tree_deserialise_leaves(Path("net"), net, filter_spec=lambda f, x: x), Net)
assert_type(tree_deserialise_leaves("net", {"a": 1}, {"a": read_leaf}), dict[str, int])
