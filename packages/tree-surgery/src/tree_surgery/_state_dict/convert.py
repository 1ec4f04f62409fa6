"""How trees become state dictionaries, and these trees."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._nodes.arrays import is_key
from tree_surgery._nodes.leaf_info import OWN, LeafInfo, info_of
from tree_surgery._nodes.prng_keys import implementation_of
from tree_surgery._safetensors.fit_leaves import match, raise_report
from tree_surgery._safetensors.leaf_encoding import Found
from tree_surgery._safetensors.leaf_names import name_leaves
from tree_surgery._safetensors.rename import Rename, compile_pattern, rename_all
from tree_surgery._streams.host_arrays import to_host

from .foreign_tensors import to_value
from .stacked_layers import join_layers, split_layers

Transpose = Mapping[str, Sequence[int] | Callable[[np.ndarray[Any, Any]], Any]]


def to_dictionary(
    tree: Any,
    rename: Rename | None,
    transpose: Transpose | None,
    split: Sequence[str] | str,
    join: Sequence[str] | str,
) -> dict[str, Any]:
    """See `to_state_dict`."""
    values = {
        name: to_value(name, leaf)
        for name, leaf in name_leaves(tree).leaves.items()
        if info_of(leaf) is not None
    }
    values = _shape(values, split, transpose, join, strict=True)
    names = rename_all(values, rename)
    return {new: values[old] for old, new in names.items() if new is not None}


def from_dictionary(
    state_dict: Mapping[str, Any],
    like: Any,
    rename: Rename | None,
    transpose: Transpose | None,
    split: Sequence[str] | str,
    join: Sequence[str] | str,
    dtype: Any,
    strict: bool,
) -> Any:
    """See `from_state_dict`."""
    named = name_leaves(like)
    names = rename_all(state_dict, rename)
    values = {new: to_value(old, state_dict[old]) for old, new in names.items() if new is not None}
    values = _shape(values, split, transpose, join, strict)
    found = {name: _found(value) for name, value in values.items()}
    takes, report = match(named.leaves, found, dtype)
    if strict and report:
        raise_report(report, "The state dictionary", named.leaves)
    new = {name: take(_raw(values[name])) for name, take in takes.items()}
    tree = named.rebuild({**named.leaves, **new})
    return tree if strict else (tree, report)


def _shape(
    values: dict[str, Any],
    split: Sequence[str] | str,
    transpose: Transpose | None,
    join: Sequence[str] | str,
    strict: bool,
) -> dict[str, Any]:
    for path in _several(split):
        values = split_layers(values, path)
    rules = [(compile_pattern(pattern), rule) for pattern, rule in (transpose or {}).items()]
    for pattern in transpose or {}:
        if strict and not any(map(compile_pattern(pattern).fullmatch, values)):
            nearest = difflib.get_close_matches(pattern, values, 3, cutoff=0.3) or list(values)[:3]
            raise SerialiseError(
                f"The rule `{pattern}` of `transpose` fits no whole path. There is, among "
                f"{len(values)}: {', '.join(f'`{name}`' for name in nearest) or 'nothing'}."
            )
    for name, value in values.items():
        rule = next((rule for pattern, rule in rules if pattern.fullmatch(name)), None)
        if rule is not None:
            values = {**values, name: _transposed(name, value, rule)}
    for path in _several(join):
        values = join_layers(values, path)
    return values


def _several(paths: Sequence[str] | str) -> Sequence[str]:
    return [paths] if isinstance(paths, str) else paths


def _transposed(name: str, value: Any, rule: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise SerialiseError("`transpose` has a rule for it, but it is no array.").at(name)
    try:
        new = rule(value) if callable(rule) else value.transpose(tuple(rule))
    except ValueError as error:
        message = f"an array of shape {value.shape} cannot be transposed to {rule}: {error}."
        raise SerialiseError(message).at(name) from error
    return np.array(new, order="C")


def _found(value: Any) -> Any:
    if is_key(value):
        info = LeafInfo(str(value.dtype), value.shape)
        return Found(info, None, {"key": implementation_of(value)})
    if isinstance(value, np.ndarray):
        return Found(LeafInfo(str(value.dtype), value.shape), value.dtype, {})
    info = info_of(value)
    return Found(info, None, {"own": True}) if info is not None and info.dtype == OWN else value


def _raw(value: Any) -> Any:
    return to_host(value) if is_key(value) else value
