"""Checkpoints to safetensors files and back, leaf by leaf: never the whole tree in memory.

Here is decided when data is read. To a file, orbax reads one array whenever the writer asks for the
next leaf. From a file, the checksums are compared first; then the file is mapped, and orbax reads
of each array what it is about to write.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tree_surgery._safetensors.decoded_header import DecodedHeader, read_decoded_header
from tree_surgery._safetensors.encoded_tree import EncodedTree, in_order
from tree_surgery._safetensors.file_notes import check_metadata
from tree_surgery._safetensors.header import SUFFIX, TensorEntry
from tree_surgery._safetensors.header_builder import HeaderBuilder
from tree_surgery._safetensors.leaf_encoding import (
    EncodedLeaf,
    LeafHeader,
    decode_array,
    encode_number,
)
from tree_surgery._safetensors.reader import check_data
from tree_surgery._safetensors.writer import write_header_and_data
from tree_surgery._streams.open_stream import PathOrFile, open_stream, with_suffix

from .stored_tree import Stored, StoredTree

ReadArray = Callable[[str], np.ndarray[Any, Any]]


class _ReadWhenAsked:
    """Stands for an array that is read from the checkpoint whenever NumPy asks for its values."""

    def __init__(self, read: ReadArray, name: str):
        self._read = read
        self._name = name

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return np.asarray(self._read(self._name), dtype)


def write_safetensors(path_or_file: PathOrFile, stored: StoredTree, read: ReadArray) -> None:
    """Write a checkpoint to a file. `read` reads one array as orbax stored it."""
    leaves: dict[str, EncodedLeaf] = {}
    for name, leaf in stored.leaves.items():
        empty = leaf.stored is Stored.NOTHING
        source = np.empty(0, np.uint8) if empty else _ReadWhenAsked(read, name)
        info, note = leaf.header.info, leaf.header.note
        leaves[name] = EncodedLeaf(info, leaf.code, leaf.shape, note, source)
    header = HeaderBuilder(EncodedTree(in_order(leaves), stored.numbers), stored.metadata)
    write_header_and_data(path_or_file, header)


def map_safetensors(path: Any) -> tuple[EncodedTree, dict[str, Any]]:
    """The leaves of a file, whose data is mapped into memory, and its metadata."""
    where: Path = with_suffix(path, SUFFIX)
    with open_stream(where, SUFFIX, write=False) as (file, ours):
        decoded = read_decoded_header(file, ours)
        check_data(file, decoded)
    size = decoded.header.file_size
    begin = decoded.header.size
    data = np.memmap(where, np.uint8, "r") if size else np.empty(0, np.uint8)
    leaves = {
        name: _encoded(decoded.leaves[name], entry, data[begin + entry.begin : begin + entry.end])
        for name, entry in decoded.header.entries.items()
    }
    numbers = {name: encode_number(x) for name, x in decoded.numbers.items()}
    return EncodedTree(leaves, numbers), _metadata_of(decoded)


def on_cpu(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays of NumPy as arrays of JAX on the CPU, in the same memory where JAX allows it.

    Orbax copies all arrays of NumPy before it writes the first, but of arrays of JAX only as much
    as it is told to.
    """
    cpu = jax.local_devices(backend="cpu")[0]
    return {name: _on_cpu(array, cpu) for name, array in arrays.items()}


def _on_cpu(array: Any, cpu: Any) -> Any:
    exact = jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype
    return jax.device_put(array, cpu) if exact else array


def gigabytes(arrays: Mapping[str, Any]) -> int:
    """The least whole number of gigabytes, but one, that holds each of the arrays."""
    return max([1, *(math.ceil(array.nbytes / 1e9) for array in arrays.values())])


def _encoded(header: LeafHeader, entry: TensorEntry, data: Any) -> EncodedLeaf:
    own = header.info.shape is None
    source = data.tobytes() if own else decode_array(data, header)
    return EncodedLeaf(header.info, entry.code, entry.shape, header.note, source)


def _metadata_of(decoded: DecodedHeader) -> dict[str, Any]:
    found: Mapping[str, Any] = decoded.header.metadata
    return check_metadata(found if decoded.notes is None else decoded.notes.metadata)
