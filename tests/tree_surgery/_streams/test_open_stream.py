"""Paths and streams of every kind, to write to and to read from, in both formats."""

import bz2
import gzip
import io
import json
import lzma
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery import (
    SerialiseError,
    load,
    peek,
    save,
    tree_deserialise_leaves,
    tree_equal,
    tree_serialise_leaves,
)

FORMATS = [(save, load), (tree_serialise_leaves, tree_deserialise_leaves)]
both = pytest.mark.parametrize(("write", "read"), FORMATS, ids=["by name", "in order"])
compressed = pytest.mark.parametrize("module", [gzip, bz2, lzma])

TREE = {
    "layers": [{"weight": jnp.ones((2, 3)), "bias": jnp.zeros(2)}],
    "key": jax.random.key(0),
    "steps": 3,
    "many": jnp.arange(100),
}


def written(write, tree):
    file = io.BytesIO()
    write(file, tree)
    return file.getvalue()


# --- paths -------------------------------------------------------------------------------------


class AnyPath:
    """Neither a string nor of pathlib, as the paths of `epath`."""

    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


# https://github.com/google/orbax/issues/741
@both
@pytest.mark.parametrize("kind", [str, Path, AnyPath, os.fsencode])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("m", {save: "m.safetensors", tree_serialise_leaves: "m.eqx"}),
        (".m", {save: ".m.safetensors", tree_serialise_leaves: ".m.eqx"}),
        ("m.eqx", "m.eqx"),
        ("m.npz", "m.npz"),
        ("a.b.c", "a.b.c"),
    ],
)
def test_a_suffix_is_appended_to_a_path_without_one(tmp_path, write, read, kind, name, made):
    path = kind(tmp_path / name)
    write(path, TREE)
    assert os.listdir(tmp_path) == [made if isinstance(made, str) else made[write]]
    assert tree_equal(read(path, TREE), TREE)
    if write is save:
        assert peek(path).leaves.keys() == peek(io.BytesIO(written(save, TREE))).leaves.keys()


@both
def test_what_is_no_path(write, read):
    with pytest.raises(TypeError, match="`int`"):
        write(3, [1])
    with pytest.raises(TypeError, match="`int`"):
        read(3, [1])
    with pytest.raises(FileNotFoundError):
        read("/absent/file", [1])
    with pytest.raises(FileNotFoundError):
        write("/absent/file", [1])


@both
def test_a_path_that_can_read_and_write(tmp_path, write, read):
    class Local(AnyPath):
        def read(self):
            raise AssertionError

        def write(self, _):
            raise AssertionError

    write(Local(tmp_path / "m"), [1])
    assert read(Local(tmp_path / "m"), [0]) == [1]


# --- streams -----------------------------------------------------------------------------------


@both
@compressed
def test_trees_follow_each_other_in_a_compressed_stream(tmp_path, write, read, module):
    tree = {"w": jnp.zeros((100, 100)), "n": 3}
    with module.open(tmp_path / "m", "wb") as file:
        file.write(json.dumps({"size": 100}).encode() + b"\n")
        write(file, tree)
        write(file, [1])
    assert (tmp_path / "m").stat().st_size < 4000
    with module.open(tmp_path / "m", "rb") as file:
        size = json.loads(file.readline())["size"]
        assert tree_equal(read(file, {"w": jnp.ones((size, size)), "n": 0}), tree)
        assert read(file, [0]) == [1]


@both
@compressed
def test_damaged_compressed_streams(write, read, module):
    tree = {"w": np.random.default_rng(0).random(1000)}
    data = module.compress(written(write, tree))
    for size in (len(data) // 2, len(data) - 200):
        with pytest.raises(SerialiseError, match="compressed stream is cut short|cut short"):
            read(module.open(io.BytesIO(data[:size])), tree)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    try:
        new = read(module.open(io.BytesIO(bytes(flipped))), tree)
    except (SerialiseError, OSError):
        return
    assert write is tree_serialise_leaves  # values are not checked there
    assert new["w"].shape == (1000,)


class Dripping:
    """A stream that cannot seek, and moves few bytes at once."""

    def __init__(self, data=b""):
        self.file = io.BytesIO(data)

    def read(self, size):
        return self.file.read(min(size, 7))

    def write(self, data):
        self.file.write(data)


class Unbuffered(io.RawIOBase):
    """A file without a buffer, which takes and gives few bytes at once, and says how many."""

    def __init__(self, data=b""):
        self.file = io.BytesIO(data)

    def readable(self):
        return True

    def writable(self):
        return True

    def readinto(self, view):
        piece = self.file.read(min(len(view), 7))
        view[: len(piece)] = piece
        return len(piece)

    def write(self, data):
        return self.file.write(bytes(data[:7]))


@both
@pytest.mark.parametrize("kind", [Dripping, Unbuffered])
def test_streams_that_cannot_seek_and_move_few_bytes(write, read, kind):
    data = written(write, TREE)
    file = kind()
    write(file, TREE)
    assert file.file.getvalue() == data
    assert tree_equal(read(kind(data), TREE), TREE)


@both
def test_pipes(write, read):
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:
        with open(writing, "wb") as writer:
            write(writer, TREE)
        assert tree_equal(read(reader, TREE), TREE)


@both
def test_files_that_are_appended_to(tmp_path, write, read):
    for i in range(2):
        with (tmp_path / "m").open("ab", buffering=0) as file:
            write(file, {"w": np.full(3, i)})
    with (tmp_path / "m").open("rb") as file:
        for i in range(2):
            assert read(file, {"w": np.zeros(3, int)})["w"].tolist() == [i] * 3


@both
def test_who_fails_to_read_leaves_the_stream_where_it_was(write, read):
    file = io.BytesIO(b"before" + written(write, TREE))
    file.seek(6)
    with pytest.raises(SerialiseError):
        read(file, {**TREE, "steps": jnp.ones(7)})
    assert file.tell() == 6
    assert tree_equal(read(file, TREE), TREE)
