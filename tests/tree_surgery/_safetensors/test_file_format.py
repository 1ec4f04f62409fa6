"""The bytes of a file: what was written before is still read and written; other programs agree."""

import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tree_surgery import (
    SerialiseError,
    freeze,
    load,
    load_state_dict,
    peek,
    save,
    tree_equal,
    tree_fingerprint,
)


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


# --- files that were written before ------------------------------------------------------------

# Written by the first version of the format, with each kind of leaf that it has. Never write it
# anew: if these tests fail, users cannot load what they saved.
VERSION_1 = Path(__file__).parent / "data" / "version_1.safetensors"
METADATA = {"text": "as it is", "layers": 1, "more": [None, True, {"a": 0.5}], "é": "ü"}


class Text:
    """A leaf that writes itself."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return self.text == other.text

    def __serialise_leaf__(self, f):
        f.write(self.text.encode())

    def __deserialise_leaf__(self, f):
        return Text(f.read().decode())


PLAIN = ("bool", "int8", "uint16", "int64", "float16", "float64", "complex64")
NESTED = np.dtype([("a", "<f4"), ("b", [("c", "<i2", (2,)), ("d", "<U2")])])


def tree_of_version_1():
    return {
        "layers": [{"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.zeros(2, jnp.bfloat16)}],
        "frozen": freeze({"scale": jnp.ones(1)}, "scale"),
        "of the format": {name: np.ones(3, name) for name in PLAIN},
        "one byte": [
            jnp.array([1, -2, 3], jnp.int4),
            jnp.ones(2, jnp.float8_e4m3fn),
            jnp.ones(2, jnp.float8_e4m3fnuz),
        ],
        "bytes": [
            np.array([1 + 2j, 3j]),
            np.ones(2, ">f4"),
            np.array(["a", "bcd"]),
            np.ones(2, "M8[s]"),
            np.zeros(2, NESTED),
            np.zeros((2, 0)),
        ],
        "float0": np.zeros(2, jax.dtypes.float0),
        "keys": [jax.random.key(7), jax.random.split(jax.random.key(1, impl="rbg"), 2)],
        "own": Text("what it wrote: é"),
        "numbers": [True, 3, -(10**30), 0.1, float("-inf"), 1.5 - 2j, np.float32(2.5)],
        "not saved": [jnp.sin, "text", None],
        "same": {"a.b": 1, "a": {"b": jnp.ones(())}},
        "[": np.ones(1, np.uint8),
    }


def test_what_is_written_now_is_what_was_written_before(saved, tmp_path):
    expected = VERSION_1.read_bytes()
    assert saved(tree_of_version_1(), metadata=METADATA) == expected
    save(tmp_path / "m", tree_of_version_1(), metadata=METADATA)  # by another way than to memory
    assert (tmp_path / "m.safetensors").read_bytes() == expected


def test_what_was_written_before_is_read():
    tree = tree_of_version_1()

    def blank(x):
        if isinstance(x, jax.Array):
            return jax.ShapeDtypeStruct(x.shape, x.dtype)
        if isinstance(x, np.ndarray):
            return np.empty_like(x)
        return type(x)("") if isinstance(x, Text) else x

    new = load(VERSION_1, jax.tree.map(blank, tree))
    assert tree_equal(new, tree, typematch=True)
    state_dict = load_state_dict(VERSION_1)
    assert state_dict["numbers.2"] == -(10**30) and state_dict["['[']"].tolist() == [1]
    info = peek(VERSION_1)
    assert (info.version, info.metadata) == (1, METADATA)
    assert info.fingerprint == tree_fingerprint(tree)
    assert str(info.leaves["bytes.4"]) == f"shape (2,) and dtype {NESTED}"


# --- the format ----------------------------------------------------------------------------------


def test_bytes_of_a_file(saved):
    """The format is written down once more: files must stay readable."""
    header, rest = header_of(saved({"w": np.array([1, 2], np.int16)}, metadata={"a": 1}))
    notes = json.loads(header["__metadata__"].pop("tree_surgery"))
    assert header.pop("w") == {"dtype": "I16", "shape": [2], "data_offsets": [0, 4]}
    assert header.pop("__metadata__").keys() == {"a", "tree_surgery.checksum"} and not header
    assert rest == b"\1\0\2\0"
    assert notes.pop("fingerprint") == tree_fingerprint({"w": np.zeros(2, np.int16)})
    crc = {"w": f"{zlib.crc32(rest):08x}"}
    assert notes == {"version": 1, "json": ["a"], "leaves": {}, "numbers": {}, "crc32": crc}


def test_data_are_aligned(saved):
    data = saved({"a": np.ones(3, np.int8), "b": np.ones(3), "c": np.ones(3, np.float16)})
    size = int.from_bytes(data[:8], "little")
    assert (8 + size) % 64 == 0
    for name, entry in header_of(data)[0].items():
        if name != "__metadata__":
            width = {"I8": 1, "F64": 8, "F16": 2}[entry["dtype"]]
            assert entry["data_offsets"][0] % width == 0


def test_newer_versions_are_refused(saved, loaded):
    tree = {"w": np.arange(6.0), "n": 3}
    header, rest = header_of(saved(tree))
    notes = json.loads(header["__metadata__"]["tree_surgery"]) | {"version": 2}
    header["__metadata__"]["tree_surgery"] = json.dumps(notes)
    text = json.dumps(header).encode()
    with pytest.raises(SerialiseError, match="version 2 .* knows 1. Upgrade"):
        loaded(len(text).to_bytes(8, "little") + text + rest, tree)


# --- other programs ------------------------------------------------------------------------------

EXCHANGED = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
EXCHANGED += ["float16", "float32", "float64", "complex64"]
SHAPES = [(), (1,), (1, 1), (3,), (2, 3), (0,), (0, 3), (3, 0)]


def values(shape, dtype):
    numbers = np.asarray(np.random.default_rng(0).integers(0, 2, shape))
    return numbers.astype(dtype)


def test_the_library_reads_our_files(tmp_path):
    tree = {n: values(s, np.dtype(n)) for n, s in zip(EXCHANGED, SHAPES * 2, strict=False)}
    save(
        tmp_path / "m",
        tree | {"jax": jnp.arange(3), "n": 3, "a.b": np.ones(1)},
        metadata={"format": "pt", "n": [1]},
    )
    read = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    for name, x in tree.items():
        assert read[name].dtype == x.dtype and np.array_equal(read[name], x)
    assert read["a.b"].tolist() == [1.0]
    assert read["jax"].tolist() == [0, 1, 2] and "n" not in read
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt" and metadata["n"] == "[1]"


def test_we_read_files_of_the_library(tmp_path):
    tree = {n: values(s, np.dtype(n)) for n, s in zip(EXCHANGED, SHAPES * 2, strict=False)}
    safetensors.numpy.save_file(tree, tmp_path / "m.safetensors", metadata={"width": "3"})
    new = load(tmp_path / "m", jax.tree.map(np.empty_like, tree))
    for name, x in tree.items():
        assert new[name].dtype == x.dtype and np.array_equal(new[name], x)
    info = peek(tmp_path / "m")
    assert (info.version, info.metadata) == (None, {"width": "3"})
    assert info.fingerprint == tree_fingerprint(tree)


def test_numbers_of_files_by_others(loaded):
    data = safetensors.numpy.save({"n": np.array(3), "x": np.array(0.5, np.float32)})
    assert loaded(data, {"n": 0, "x": 0.0}) == {"n": 3, "x": 0.5}
    assert loaded(data, {"n": 0.0, "x": 0j}) == {"n": 3.0, "x": 0.5 + 0j}
    with pytest.raises(SerialiseError, match=r"Leaf `x`: 0.5 is no `int`"):
        loaded(data, {"n": 0, "x": 0})
