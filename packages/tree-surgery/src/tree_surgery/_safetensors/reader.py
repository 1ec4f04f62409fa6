"""How `load` and `load_state_dict` read a file: the header, then all data in its order.

Here is decided that the data of every leaf is read and its checksum compared, also of leaves that
nobody asked for. The order is that of the file, so that streams that cannot seek are read too. No
tree is returned before all of the file was checked.
"""

import io
from collections.abc import Mapping
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.leaf_info import OWN
from tree_surgery._nodes.prng_keys import to_keys
from tree_surgery._streams.byte_streams import ByteArray, aligned_bytes
from tree_surgery._streams.checksums import Checksums, checksum_threads
from tree_surgery._streams.open_stream import PathOrFile, open_stream

from .decoded_header import DecodedHeader, read_decoded_header
from .file_notes import format_checksum
from .fit_leaves import CastTo, MakeLeaf, fit_leaves
from .header import SUFFIX
from .leaf_encoding import LeafHeader, decode_array
from .leaf_names import name_leaves
from .rename import Rename


def read_tree(
    path_or_file: PathOrFile, like: Any, strict: bool, rename: Rename | None, dtype: CastTo
) -> Any:
    """Read a tree. See `load`."""
    named = name_leaves(like)
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksum_threads() as sums:
        decoded = read_decoded_header(file, ours)
        found = decoded.leaves | decoded.numbers
        fit = fit_leaves(named.leaves, found, strict, rename, dtype, "The file")
        new = _read_leaves(file, decoded, fit.names, named.leaves, fit.makers, sums)
    tree = named.rebuild({**named.leaves, **new})
    return tree if strict else (tree, fit.report)


def read_dictionary(path_or_file: PathOrFile) -> dict[str, Any]:
    """Read all leaves into a dictionary. See `load_state_dict`."""
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksum_threads() as sums:
        decoded = read_decoded_header(file, ours)
        makers: dict[str, MakeLeaf] = {}
        for name, leaf in decoded.leaves.items():
            _check_dtype(name, leaf)
            makers[name] = _maker_without_like(leaf)
        same = {name: name for name in (*decoded.leaves, *decoded.numbers)}
        return _read_leaves(file, decoded, same, {}, makers, sums) | decoded.numbers


def check_data(file: IO[bytes], decoded: DecodedHeader) -> None:
    """Read all data of a file, and compare the checksums. Every leaf must be of a known dtype."""
    with checksum_threads() as sums:
        for name, leaf in decoded.leaves.items():
            _check_dtype(name, leaf)
            _read_data(file, decoded, name, False, sums)


def _check_dtype(name: str, leaf: LeafHeader) -> None:
    if leaf.dtype is None:
        raise SerialiseError(
            f"Leaf `{name}` is of dtype {leaf.info.dtype}. Upgrade tree-surgery, or load "
            "what fits a tree by `load(..., strict=False)`.",
            path=name,
        )


def _maker_without_like(leaf: LeafHeader) -> MakeLeaf:
    if "key" in leaf.note:
        return lambda words: to_keys(words, leaf.note["key"], None)
    return lambda array: array


def _read_leaves(
    file: IO[bytes],
    decoded: DecodedHeader,
    names: Mapping[str, str | None],
    like: Mapping[str, Any],
    makers: Mapping[str, MakeLeaf],
    sums: Checksums,
) -> dict[str, Any]:
    """Read all data, and make the leaves that have a maker.

    - `names`: for each name in the file the name in the tree; `None` if the leaf is left out.
    - `like`, `makers`: by name in the tree.
    """
    new: dict[str, Any] = {}
    for old, leaf in decoded.leaves.items():
        name = names[old]
        wanted = name is not None and name in makers
        data = _read_data(file, decoded, old, wanted, sums)
        if data is not None and name is not None:
            new[name] = make_leaf(name, data, leaf, makers[name], like.get(name))
        del data  # a cast has copied it: it must not be held while the next is read
    for old, number in decoded.numbers.items():
        name = names[old]
        if name is not None and name in makers:
            new[name] = makers[name](number)
    return new


def _read_data(
    file: IO[bytes], decoded: DecodedHeader, name: str, wanted: bool, sums: Checksums
) -> ByteArray | None:
    """Read the data of a leaf and compare its checksum. `None` if it is not wanted."""
    entry = decoded.header.entries[name]
    size, what = entry.end - entry.begin, f"leaf `{name}`"
    data = aligned_bytes(size) if wanted else None
    checksum = sums.skip(file, size, what) if data is None else sums.read(file, data.data, what)
    if decoded.notes is not None and format_checksum(checksum) != decoded.notes.checksums[name]:
        raise SerialiseError(
            f"The file is damaged: leaf `{name}` is not as it was saved (its checksum differs).",
            path=name,
        )
    return data


def make_leaf(name: str, data: ByteArray, leaf: LeafHeader, make: MakeLeaf, like: Any) -> Any:
    """Make a leaf. One that wrote itself is read by the leaf of `like`, if there is one."""
    if leaf.info.dtype != OWN or like is None:
        return make(decode_array(data, leaf))
    content = io.BytesIO(data.data)
    try:
        new = like.__deserialise_leaf__(content)
    except SerialiseError as error:
        raise error.at(name) from error.__cause__
    if content.read(1):
        raise SerialiseError(
            f"Leaf `{name}`: its `__deserialise_leaf__` did not read all that was saved of it.",
            path=name,
        )
    return new
