"""`HeaderBuilder`: the header of a file while `save` writes it.

Here is decided which bytes each leaf gets, and when the checksums come into the header. How a leaf
is encoded is decided in `leaf_encoding.py`, the order of the leaves in `encoded_tree.py`, and how
notes become metadata in `file_notes.py`.
"""

from collections.abc import Mapping
from typing import Any

from .encoded_tree import EncodedTree
from .file_notes import FileNotes, format_checksum
from .header import TensorEntry, render_header
from .leaf_encoding import EncodedLeaf


class HeaderBuilder:
    """The one owner of entries, notes and checksums of a file that is written.

    - `leaves`: the encoded leaves, in the order in which their data must be written.

    The checksum of a leaf is known only when its data was read. Until `set_checksum` is called,
    zeros stand for it. The length of `render()` never changes, so a header may be written first and
    overwritten in place at the end.
    """

    leaves: dict[str, EncodedLeaf]

    def __init__(self, tree: EncodedTree, metadata: dict[str, Any]):
        self.leaves = tree.leaves
        self._entries = _assign_bytes(tree.leaves)
        self._checksums = dict.fromkeys(tree.leaves, format_checksum(0))
        self._notes = FileNotes(
            fingerprint=tree.fingerprint,
            leaves={name: leaf.note for name, leaf in tree.leaves.items() if leaf.note},
            numbers=tree.numbers,
            checksums=self._checksums,
            metadata=metadata,
        )

    @property
    def size(self) -> int:
        """The bytes of all data."""
        return sum(leaf.size for leaf in self.leaves.values())

    def set_checksum(self, name: str, checksum: int) -> None:
        """Record the checksum of the data of a leaf."""
        self._checksums[name] = format_checksum(checksum)

    def render(self) -> bytes:
        """The bytes of the header with the checksums that are known so far."""
        return render_header(self._entries, self._notes.to_metadata(self._entries))


def _assign_bytes(leaves: Mapping[str, EncodedLeaf]) -> dict[str, TensorEntry]:
    """The entry of each leaf. Their byte ranges follow each other without gaps."""
    entries: dict[str, TensorEntry] = {}
    begin = 0
    for name, leaf in leaves.items():
        end = begin + leaf.size
        entries[name] = TensorEntry(leaf.code, leaf.shape, begin, end)
        begin = end
    return entries
