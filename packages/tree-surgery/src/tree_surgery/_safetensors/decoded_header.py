"""What is in a file, before its data are read: the header, understood and checked."""

import os
from typing import IO, Any, NamedTuple

from tree_surgery._nodes.leaf_info import LeafInfo, info_of
from tree_surgery._streams.open_stream import SUFFIX, PathOrFile, open_stream

from .file_notes import Notes, fingerprint_of, read_notes
from .header import Header, read_header, refuse
from .leaf_encoding import Found, note_to_number, recall


class Content(NamedTuple):
    """A header, understood: arrays that are found in a file, and numbers."""

    header: Header
    notes: Notes | None
    found: dict[str, Found]
    numbers: dict[str, Any]

    @property
    def infos(self) -> dict[str, LeafInfo]:
        """Each name with what there is."""
        infos = {name: found.what for name, found in self.found.items()}
        return infos | {name: info_of(x) or LeafInfo("") for name, x in self.numbers.items()}


def read_content(file: IO[bytes], ours: bool) -> Content:
    """Read the header, and check everything in it."""
    header = read_header(file, _size(file) if ours else None)
    notes = read_notes(header)
    known = {} if notes is None else notes.leaves
    found = {n: recall(n, place, known.get(n, {})) for n, place in header.places.items()}
    numbers: dict[str, Any] = {}
    if notes is not None:
        numbers = {name: note_to_number(name, note) for name, note in notes.numbers.items()}
        if notes.checksums.keys() != found.keys() or numbers.keys() & found.keys():
            refuse("its notes are on other leaves than it has")
    content = Content(header, notes, found, numbers)
    if notes is not None and notes.fingerprint != fingerprint_of(content.infos):
        refuse("its leaves do not have the fingerprint that it gives")
    return content


def _size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if status.st_size or os.path.isfile(file.name) else None


def look_into(path_or_file: PathOrFile) -> Content:
    """See `peek`."""
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours):
        start = file.tell() if not ours and getattr(file, "seekable", bool)() else None
        content = read_content(file, ours)
        if start is not None:
            file.seek(start)
    return content
