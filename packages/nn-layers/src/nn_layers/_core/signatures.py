"""Where two trees of arrays first differ in structure, shape or dtype, for the text of an error."""

from typing import Any, NamedTuple

import jax.tree_util as jtu
import numpy as np

from tree_surgery import path_str
from tree_surgery.extend import Difference, array_text, first_difference


class SignatureDifference(NamedTuple):
    """The first place at which two trees differ.

    - `path`: where, as `path_str` writes it.
    - `expected`, `found`: what each tree has there, in words.
    """

    path: str
    expected: str
    found: str


def signature_difference(expected: Any, found: Any) -> SignatureDifference | None:
    """Compare structures, shapes and dtypes. `None` if they are equal. Values do not count."""
    # Quick where nothing differs: eager layers ask this at each call.
    (one, treedef), (other, other_treedef) = map(jtu.tree_flatten, (expected, found))
    if treedef == other_treedef and all(map(_same_signature, one, other)):
        return None
    return _in_words(first_difference(expected, found, _same_signature))


def structure_difference(expected: Any, found: Any) -> SignatureDifference | None:
    """Compare structures alone. `None` if they are equal."""
    if jtu.tree_structure(expected) == jtu.tree_structure(found):
        return None
    return _in_words(first_difference(expected, found))


def _in_words(difference: Difference | None) -> SignatureDifference | None:
    if difference is None:
        return None
    path = path_str(tuple(difference.path))
    return SignatureDifference(path, _node_text(difference.one), _node_text(difference.other))


def _same_signature(x: Any, y: Any) -> bool:
    return _signature(x) == _signature(y)


def _signature(x: Any) -> Any:
    """Shape and dtype of an array; of a number of Python, its type."""
    return (x.shape, x.dtype) if hasattr(x, "dtype") else (np.shape(x), type(x))


def _node_text(x: Any) -> str:
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return array_text(x)
    return f"a {type(x).__name__}"
