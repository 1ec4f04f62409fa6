"""What is in a file, before its data is read: the header, decoded into leaves and checked.

Here is decided that header and notes must agree: each tensor has a checksum, no name stands for two
leaves, and the fingerprint is that of the leaves. `peek` needs no more than this; `load` goes on to
read the data in `reader.py`.
"""

import os
from typing import IO, Any, NamedTuple

from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.leaf_info import info_of
from tree_surgery._streams.open_stream import PathOrFile, open_stream

from .file_notes import FileNotes, read_notes
from .fingerprint import fingerprint_of_infos
from .header import SUFFIX, Header, read_header, refuse
from .leaf_encoding import LeafHeader, decode_entry, decode_number


class DecodedHeader(NamedTuple):
    """The header of a file, and the leaves that it describes.

    - `header`: as it is in the file.
    - `notes`: those of `save`; `None` in a file of another program.
    - `leaves`: the leaves that have data in the file, in the order of `header.entries`.
    - `numbers`: Python's numbers, which are in the notes.
    """

    header: Header
    notes: FileNotes | None
    leaves: dict[str, LeafHeader]
    numbers: dict[str, Any]

    @property
    def infos(self) -> dict[str, LeafInfo]:
        """What each leaf is, by name."""
        infos = {name: leaf.info for name, leaf in self.leaves.items()}
        return infos | {name: info_of(x) or LeafInfo("") for name, x in self.numbers.items()}


def read_decoded_header(file: IO[bytes], ours: bool) -> DecodedHeader:
    """Read the header of a file, decode it, and check all of it. The file is left at its data.

    `ours`: whether the file was opened from a path, so that it must end with its data.
    """
    header = read_header(file, _file_size(file) if ours else None)
    notes = read_notes(header)
    known = {} if notes is None else notes.leaves
    leaves = {n: decode_entry(n, entry, known.get(n, {})) for n, entry in header.entries.items()}
    numbers: dict[str, Any] = {}
    if notes is not None:
        numbers = {name: decode_number(name, note) for name, note in notes.numbers.items()}
        if notes.checksums.keys() != leaves.keys() or numbers.keys() & leaves.keys():
            refuse("its notes are on other leaves than it has")
    decoded = DecodedHeader(header, notes, leaves, numbers)
    if notes is not None and notes.fingerprint != fingerprint_of_infos(decoded.infos):
        refuse("its leaves do not have the fingerprint that it gives")
    return decoded


def _file_size(file: IO[bytes]) -> int | None:
    """The size of a file; `None` for a pipe or a device, of which the system says 0."""
    status = os.fstat(file.fileno())
    return status.st_size if status.st_size or os.path.isfile(file.name) else None


def peek_header(path_or_file: PathOrFile) -> DecodedHeader:
    """Read the header of a file, and put a stream of the caller back to where it was."""
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours):
        # `bool()` is False: a stream without `seekable` cannot seek.
        start = file.tell() if not ours and getattr(file, "seekable", bool)() else None
        decoded = read_decoded_header(file, ours)
        if start is not None:
            file.seek(start)
    return decoded
