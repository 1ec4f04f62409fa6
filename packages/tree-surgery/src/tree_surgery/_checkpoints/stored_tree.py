"""What a checkpoint holds of a tree: an array for orbax of each leaf, and notes as JSON.

Leaves are encoded as for a safetensors file (`_safetensors/leaf_encoding.py`), and the notes say of
each what the header of such a file says. Here is decided what orbax gets to store:

| leaf | stored |
|---|---|
| an array of a dtype that TensorStore has | itself, each process its own parts |
| typed PRNG keys | their words |
| any other array, a leaf that writes itself | its bytes |
| an array without elements, a number of Python | nothing: the notes say all |
"""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._jax import Tracer
from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.leaf_info import info_of
from tree_surgery._safetensors.encoded_tree import EncodedTree
from tree_surgery._safetensors.fingerprint import fingerprint_of_infos
from tree_surgery._safetensors.header import TensorEntry
from tree_surgery._safetensors.leaf_encoding import (
    EncodedLeaf,
    LeafHeader,
    LeafNote,
    decode_entry,
    decode_number,
)

VERSION = 1

# The dtypes that TensorStore has, by the names of NumPy and JAX. Others are stored as bytes.
_FLOATS = ("bfloat16", "float16", "float32", "float64", "complex64", "complex128")
_FLOATS8 = ("e4m3fn", "e4m3fnuz", "e4m3b11fnuz", "e5m2", "e5m2fnuz")
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_STORABLE = frozenset(["bool", "int4", *_INTEGERS, *_FLOATS, *(f"float8_{x}" for x in _FLOATS8)])


class Stored(Enum):
    """As what orbax stores a leaf."""

    NOTHING = "nothing"
    BYTES = "its bytes"
    WORDS = "the words of keys"
    ARRAY = "itself"


class StoredLeaf(NamedTuple):
    """One leaf of a checkpoint, as its notes describe it.

    - `header`: what the leaf is in memory.
    - `code`, `shape`: the dtype and shape of its tensor in a safetensors file.
    """

    header: LeafHeader
    code: str
    shape: tuple[int, ...]

    @property
    def stored(self) -> Stored:
        """As what orbax stored it."""
        return stored_as(self.header.info, self.shape, self.header.note)


class StoredTree(NamedTuple):
    """All that the notes of a checkpoint say.

    - `leaves`: those that are stored as tensors.
    - `numbers`: Python's numbers, as `encode_number` writes them.
    - `metadata`: the user's.
    """

    leaves: dict[str, StoredLeaf]
    numbers: dict[str, list[str]]
    metadata: dict[str, Any]

    @property
    def found(self) -> dict[str, LeafHeader | Any]:
        """What each leaf is, by name: a `LeafHeader`, or a number of Python."""
        headers: dict[str, Any] = {name: leaf.header for name, leaf in self.leaves.items()}
        return headers | {name: decode_number(name, x) for name, x in self.numbers.items()}

    @property
    def infos(self) -> dict[str, LeafInfo]:
        """The kind, dtype and shape of each leaf, by name."""
        return {
            name: x.info if isinstance(x, LeafHeader) else info_of(x) or LeafInfo("")
            for name, x in self.found.items()
        }


def stored_as(info: LeafInfo, shape: tuple[int, ...], note: LeafNote) -> Stored:
    """As what orbax stores a leaf, whose tensor in a safetensors file has the shape `shape`."""
    if math.prod(shape) == 0:
        return Stored.NOTHING
    if "key" in note:
        return Stored.WORDS
    return Stored.ARRAY if info.dtype in _STORABLE else Stored.BYTES


def arrays_to_store(tree: EncodedTree) -> dict[str, Any]:
    """The arrays that orbax gets, by the names of their leaves."""
    arrays: dict[str, Any] = {}
    for name, leaf in tree.leaves.items():
        try:
            array = _array_to_store(leaf)
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        if array is not None:
            arrays[name] = array
    return arrays


def _array_to_store(leaf: EncodedLeaf) -> Any:
    if isinstance(leaf.source, Tracer):
        raise SerialiseError(
            f"{leaf.source} is being traced, and has no value yet. Save outside of `jax.jit`."
        )
    match stored_as(leaf.info, leaf.shape, leaf.note):
        case Stored.NOTHING:
            return None
        case Stored.WORDS:
            is_key = isinstance(leaf.source, jax.Array)
            return jax.random.key_data(leaf.source) if is_key else np.asarray(leaf.source)
        case Stored.ARRAY:
            # orbax does not treat a NumPy scalar as an array; it would return a Python number.
            return leaf.source if isinstance(leaf.source, jax.Array) else np.asarray(leaf.source)
        case Stored.BYTES:
            return np.frombuffer(leaf.data(), np.uint8)


# --- the notes -----------------------------------------------------------------------------------


def notes_to_json(tree: EncodedTree, metadata: dict[str, Any]) -> dict[str, Any]:
    """The notes of a checkpoint."""
    return {
        "version": VERSION,
        "fingerprint": tree.fingerprint,
        "leaves": {n: [leaf.code, leaf.shape, leaf.note] for n, leaf in tree.leaves.items()},
        "numbers": tree.numbers,
        "metadata": metadata,
    }


def notes_from_json(notes: Any) -> StoredTree:
    """The notes of a checkpoint, checked."""
    version = notes.get("version") if isinstance(notes, Mapping) else None
    if isinstance(version, int) and version > VERSION:
        raise SerialiseError(
            f"The checkpoint is of version {version} of this format, and this version of "
            f"tree-surgery knows {VERSION}. Upgrade it: `pip install -U tree-surgery`."
        )
    try:
        leaves = {
            name: _stored_leaf(name, code, tuple(shape), note)
            for name, (code, shape, note) in cast(dict[str, Any], notes["leaves"]).items()
        }
        tree = StoredTree(leaves, notes["numbers"], notes["metadata"])
        if notes["fingerprint"] != fingerprint_of_infos(tree.infos):
            raise ValueError("its leaves do not have the fingerprint that it gives")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SerialiseError(f"The notes of the checkpoint are damaged: {error!r}.") from error
    return tree


def _stored_leaf(name: str, code: str, shape: tuple[int, ...], note: LeafNote) -> StoredLeaf:
    header = decode_entry(name, TensorEntry(code, shape, 0, 0), note)
    return StoredLeaf(header, code, shape)
