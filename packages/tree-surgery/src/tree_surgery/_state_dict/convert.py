"""How a tree becomes a state dictionary, and a state dictionary a tree.

Here is decided the order of the steps: names, layout, renaming, fit. The steps themselves are
decided elsewhere: names in `_safetensors/leaf_names.py`, values in `foreign_tensors.py`, layout in
`layout_rules.py`, what fits in `_safetensors/fit_leaves.py`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tree_surgery._load_report import LeafInfo
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import OWN, info_of
from tree_surgery._nodes.prng_keys import implementation_of
from tree_surgery._safetensors.fit_leaves import CastTo, match_leaves, raise_report
from tree_surgery._safetensors.leaf_encoding import LeafHeader
from tree_surgery._safetensors.leaf_names import name_leaves
from tree_surgery._safetensors.rename import Rename, rename_all
from tree_surgery._streams.host_arrays import to_host

from .foreign_tensors import to_value
from .layout_rules import LayoutRules


def to_dictionary(tree: Any, rename: Rename | None, layout: LayoutRules) -> dict[str, Any]:
    """The state dictionary of a tree. See `to_state_dict`."""
    values = {
        name: to_value(name, leaf)
        for name, leaf in name_leaves(tree).leaves.items()
        if info_of(leaf) is not None
    }
    values = layout.apply(values, strict=True)
    names = rename_all(values, rename)
    return {new: values[old] for old, new in names.items() if new is not None}


def from_dictionary(
    state_dict: Mapping[str, Any],
    like: Any,
    rename: Rename | None,
    layout: LayoutRules,
    dtype: CastTo,
    strict: bool,
) -> Any:
    """The tree of a state dictionary. See `from_state_dict`."""
    named = name_leaves(like)
    names = rename_all(state_dict, rename)
    values = {new: to_value(old, state_dict[old]) for old, new in names.items() if new is not None}
    values = layout.apply(values, strict)
    found = {name: _header_of(value) for name, value in values.items()}
    makers, report = match_leaves(named.leaves, found, dtype)
    if strict and report:
        raise_report(report, "The state dictionary", named.leaves)
    new = {name: make(_words_of_keys(values[name])) for name, make in makers.items()}
    tree = named.rebuild({**named.leaves, **new})
    return tree if strict else (tree, report)


def _header_of(value: Any) -> LeafHeader | Any:
    """What a file would say of a value, so that `match_leaves` can compare it with a leaf.

    A number of Python describes itself.
    """
    # `dtype` is `None`: keys are compared by their name in `info`, and never cast.
    if is_key(value):
        info = LeafInfo(str(value.dtype), value.shape)
        return LeafHeader(info, None, {"key": implementation_of(value)})
    if isinstance(value, np.ndarray):
        return LeafHeader(LeafInfo(str(value.dtype), value.shape), value.dtype, {})
    info = info_of(value)
    if info is not None and info.dtype == OWN:
        return LeafHeader(info, None, {"own": True})
    return value


def _words_of_keys(value: Any) -> Any:
    """Typed keys as their words, which is what a file holds of them. Else the value itself."""
    return to_host(value) if is_key(value) else value
