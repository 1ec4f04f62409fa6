"""`EncodedTree`: the leaves of a tree as they are stored, before anything is written.

Here is decided in which order the leaves are stored. How one leaf is encoded is decided in
`leaf_encoding.py`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tree_surgery._errors import SerialiseError
from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.leaf_info import number_kind

from .fingerprint import fingerprint_of_infos
from .header import itemsize
from .leaf_encoding import EncodedLeaf, encode_leaf, encode_number


class EncodedTree(NamedTuple):
    """The leaves of a tree by name, encoded.

    - `leaves`: those that are stored as tensors, those with the largest elements first.
    - `numbers`: Python's numbers, as `encode_number` writes them.
    """

    leaves: dict[str, EncodedLeaf]
    numbers: dict[str, list[str]]

    @property
    def fingerprint(self) -> str:
        """As `tree_fingerprint` computes it."""
        infos = {name: leaf.info for name, leaf in self.leaves.items()}
        infos |= {name: LeafInfo(f"Python {kind}") for name, (kind, *_) in self.numbers.items()}
        return fingerprint_of_infos(infos)


def encode_tree(leaves: Mapping[str, Any]) -> EncodedTree:
    """Encode all leaves that are saved. Their data is not read yet.

    The order is that of the size of elements. So each tensor of a file begins at a multiple of
    the size of its elements, without gaps between tensors.
    """
    encoded: dict[str, EncodedLeaf] = {}
    for name, leaf in leaves.items():
        try:
            one = encode_leaf(leaf)
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        if one is not None:
            encoded[name] = one
    numbers = {n: encode_number(x) for n, x in leaves.items() if number_kind(x) is not None}
    return EncodedTree(in_order(encoded), numbers)


def in_order(leaves: Mapping[str, EncodedLeaf]) -> dict[str, EncodedLeaf]:
    """The leaves with the largest elements first."""
    return dict(sorted(leaves.items(), key=lambda pair: -itemsize(pair[1].code)))
