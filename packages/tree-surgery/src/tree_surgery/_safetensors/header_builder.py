"""`HeaderBuilder`: the header of a file while `save` writes it.

Here is decided in which order the data of the leaves is written, which bytes each leaf gets, and
when the checksums come into the header. How a leaf is encoded is decided in `leaf_encoding.py`, and
how notes become metadata in `file_notes.py`.
"""

from collections.abc import Mapping
from typing import Any

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.leaf_info import number_kind

from .file_notes import FileNotes, format_checksum
from .fingerprint import fingerprint_of_infos
from .header import TensorEntry, itemsize, render_header
from .leaf_encoding import EncodedLeaf, encode_leaf, encode_number


class HeaderBuilder:
    """The one owner of entries, notes and checksums of a file that is written.

    - `leaves`: the encoded leaves, in the order in which their data must be written.

    The checksum of a leaf is known only when its data was read. Until `set_checksum` is called,
    zeros stand for it. The length of `render()` never changes, so a header may be written first and
    overwritten in place at the end.
    """

    leaves: dict[str, EncodedLeaf]

    def __init__(self, leaves: Mapping[str, Any], metadata: dict[str, Any]):
        self.leaves = _encode_all(leaves)
        self._entries = _assign_bytes(self.leaves)
        numbers = {n: encode_number(x) for n, x in leaves.items() if number_kind(x) is not None}
        infos = {name: leaf.info for name, leaf in self.leaves.items()}
        infos |= {name: LeafInfo(f"Python {kind}") for name, (kind, *_) in numbers.items()}
        self._checksums = dict.fromkeys(self.leaves, format_checksum(0))
        self._notes = FileNotes(
            fingerprint=fingerprint_of_infos(infos),
            leaves={name: leaf.note for name, leaf in self.leaves.items() if leaf.note},
            numbers=numbers,
            checksums=self._checksums,
            metadata=metadata,
        )

    def set_checksum(self, name: str, checksum: int) -> None:
        """Record the checksum of the data of a leaf."""
        self._checksums[name] = format_checksum(checksum)

    def render(self) -> bytes:
        """The bytes of the header with the checksums that are known so far."""
        return render_header(self._entries, self._notes.to_metadata(self._entries))


def _encode_all(leaves: Mapping[str, Any]) -> dict[str, EncodedLeaf]:
    """The leaves that are stored as tensors, those with the largest elements first.

    So each tensor begins at a multiple of the size of its elements, without gaps between tensors.
    """
    encoded: dict[str, EncodedLeaf] = {}
    for name, leaf in leaves.items():
        try:
            one = encode_leaf(leaf)
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        if one is not None:
            encoded[name] = one
    return dict(sorted(encoded.items(), key=lambda pair: -itemsize(pair[1].code)))


def _assign_bytes(leaves: Mapping[str, EncodedLeaf]) -> dict[str, TensorEntry]:
    """The entry of each leaf. Their byte ranges follow each other without gaps."""
    entries: dict[str, TensorEntry] = {}
    begin = 0
    for name, leaf in leaves.items():
        end = begin + leaf.size
        entries[name] = TensorEntry(leaf.code, leaf.shape, begin, end)
        begin = end
    return entries
