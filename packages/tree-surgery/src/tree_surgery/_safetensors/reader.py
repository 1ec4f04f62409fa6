"""How `load` and `load_state_dict` read a file."""

import io
from collections.abc import Mapping
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.leaf_info import OWN
from tree_surgery._nodes.prng_keys import to_keys
from tree_surgery._streams.byte_streams import Buffer, Checksums, checksums, empty
from tree_surgery._streams.open_stream import SUFFIX, PathOrFile, open_stream

from .decoded_header import Content, read_content
from .file_notes import crc_text
from .fit_leaves import Take, match, raise_report
from .leaf_encoding import Found, to_array
from .leaf_names import name_leaves
from .rename import Rename, rename_all


def read_tree(
    path_or_file: PathOrFile, like: Any, strict: bool, rename: Rename | None, dtype: Any
) -> Any:
    """See `load`."""
    named = name_leaves(like)
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksums() as sums:
        content = read_content(file, ours)
        there = content.found | content.numbers
        names = rename_all(there, rename)
        renamed = {new: there[old] for old, new in names.items() if new is not None}
        takes, report = match(named.leaves, renamed, dtype)
        if strict and report:
            raise_report(report, "The file", named.leaves)
        new = _read(file, content, names, named.leaves, takes, sums)
    tree = named.rebuild({**named.leaves, **new})
    return tree if strict else (tree, report)


def read_dictionary(path_or_file: PathOrFile) -> dict[str, Any]:
    """See `load_state_dict`."""
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksums() as sums:
        content = read_content(file, ours)
        takes: dict[str, Take] = {}
        for name, found in content.found.items():
            if found.dtype is None:
                raise SerialiseError(
                    f"Leaf `{name}` is of dtype {found.what.dtype}. Upgrade tree-surgery, or load "
                    "what fits a tree by `load(..., strict=False)`.",
                    path=name,
                )
            takes[name] = _as_it_is(found)
        same = {name: name for name in (*content.found, *content.numbers)}
        return _read(file, content, same, {}, takes, sums) | content.numbers


def _as_it_is(found: Found) -> Take:
    if "key" in found.note:
        return lambda words: to_keys(words, found.note["key"], None)
    return lambda array: array


def _read(
    file: IO[bytes],
    content: Content,
    names: Mapping[str, str | None],
    leaves: Mapping[str, Any],
    takes: Mapping[str, Take],
    sums: Checksums,
) -> dict[str, Any]:
    """All data in the order in which they come; new leaves for those that are taken."""
    new: dict[str, Any] = {}
    for old, place in content.header.places.items():
        found, size, name = content.found[old], place.end - place.begin, names[old]
        take = None if name is None else takes.get(name)
        buffer: Buffer | None = None
        if take is None:
            checksum = sums.skip(file, size, f"leaf `{old}`")
        else:
            buffer = empty(size)
            checksum = sums.read(file, buffer.data, f"leaf `{old}`")
        if content.notes is not None and crc_text(checksum) != content.notes.checksums[old]:
            raise SerialiseError(
                f"The file is damaged: leaf `{old}` is not as it was saved (its checksum differs).",
                path=old,
            )
        if buffer is not None and name is not None and take is not None:
            new[name] = _leaf(name, buffer, found, take, leaves.get(name))
    for old, number in content.numbers.items():
        name = names[old]
        if name is not None and name in takes:
            new[name] = takes[name](number)
    return new


def _leaf(name: str, buffer: Buffer, found: Found, take: Take, like: Any) -> Any:
    if found.what.dtype != OWN or like is None:
        return take(to_array(buffer, found))
    content = io.BytesIO(buffer.data)
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
