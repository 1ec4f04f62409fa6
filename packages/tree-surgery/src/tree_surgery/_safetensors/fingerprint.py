"""The fingerprint of a tree: a hash of the names, shapes, dtypes and kinds of its saved leaves.

Here is decided what makes two trees alike. Values, the order of leaves, and leaves that are not
saved do not count. `save` writes the fingerprint into the file, and a file whose leaves do not have
the fingerprint that it gives is refused.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.leaf_info import info_of

from .leaf_names import name_leaves


def fingerprint_of_tree(tree: Any) -> str:
    """The fingerprint of a tree. See `tree_fingerprint`."""
    infos = {name: info_of(leaf) for name, leaf in name_leaves(tree).leaves.items()}
    return fingerprint_of_infos({name: info for name, info in infos.items() if info is not None})


def fingerprint_of_infos(infos: Mapping[str, LeafInfo]) -> str:
    """The fingerprint of a tree with these leaves, by name."""
    lines = sorted(f"{name}: {info}" for name, info in infos.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
