"""How `save` writes a tree."""

from collections.abc import Mapping
from typing import IO, Any

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.leaf_info import LeafInfo, info_of, number_kind
from tree_surgery._streams.byte_streams import Checksums, checksums
from tree_surgery._streams.open_stream import SUFFIX, PathOrFile, open_stream

from .file_notes import Notes, check_metadata, crc_text, fingerprint_of
from .header import Place, itemsize, render
from .leaf_encoding import Item, number_to_note, store
from .leaf_names import name_leaves


def write_tree(path_or_file: PathOrFile, tree: Any, metadata: Mapping[str, Any] | None) -> None:
    """See `save`."""
    kept = check_metadata(metadata)
    leaves = name_leaves(tree).leaves
    items = _items(leaves)
    places = _places(items)
    numbers = {n: number_to_note(x) for n, x in leaves.items() if number_kind(x) is not None}
    infos = {name: item.what for name, item in items.items()}
    infos |= {name: LeafInfo(f"Python {kind}") for name, (kind, *_) in numbers.items()}
    notes = Notes(
        fingerprint_of(infos),
        {name: item.note for name, item in items.items() if item.note},
        numbers,
        dict.fromkeys(items, crc_text(0)),
        kept,
    )
    with open_stream(path_or_file, SUFFIX, write=True) as (file, ours), checksums() as sums:
        if ours and file.seekable():
            file.write(render(places, notes.to_metadata(places)))
            _write(file, items, notes, sums)
            file.flush()
            file.seek(0)  # the checksums are known now, and as long as the zeros in their place
            file.write(render(places, notes.to_metadata(places)))
        else:
            # There may be no way back to the beginning of a stream: so the leaves are read twice.
            _write(None, items, notes, sums)
            file.write(render(places, notes.to_metadata(places)))
            _write(file, items, notes, sums)


def fingerprint_of_tree(tree: Any) -> str:
    """See `tree_fingerprint`."""
    leaves = name_leaves(tree).leaves
    infos: dict[str, LeafInfo | None] = {name: info_of(leaf) for name, leaf in leaves.items()}
    return fingerprint_of({name: info for name, info in infos.items() if info is not None})


def _items(leaves: Mapping[str, Any]) -> dict[str, Item]:
    """What is stored as an array, the largest elements first: so all are aligned."""
    items: dict[str, Item] = {}
    for name, leaf in leaves.items():
        try:
            item = store(leaf)
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        if item is not None:
            items[name] = item
    return dict(sorted(items.items(), key=lambda pair: -itemsize(pair[1].code)))


def _places(items: Mapping[str, Item]) -> dict[str, Place]:
    at = 0
    places: dict[str, Place] = {}
    for name, item in items.items():
        places[name] = Place(item.code, item.shape, at, at + item.size)
        at += item.size
    return places


def _write(
    file: IO[bytes] | None, items: Mapping[str, Item], notes: Notes, sums: Checksums
) -> None:
    """Write all data, in the order of their places, or only find their checksums."""
    for name, item in items.items():
        try:
            data = item.data()
            checksum = sums.of(data) if file is None else sums.write(file, data)
            del data  # it may be a copy, and the next is made before this name is used again
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        except OSError as error:
            error.add_note(f"At leaf `{name}`.")
            raise
        notes.checksums[name] = crc_text(checksum)
