"""`split`, `transpose` and `join`: how the arrays of a state dictionary change their layout.

Here is decided the order of the three steps, and which rule of `transpose` counts. How layers are
split and joined is decided in `stacked_layers.py`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._safetensors.rename import compile_name_pattern

from .stacked_layers import join_layers, split_layers

Transpose: TypeAlias = Mapping[str, Sequence[int] | Callable[[Any], Any]]
"""Patterns of names, each with the axes of `numpy.transpose` or a function of an array."""


class LayoutRules(NamedTuple):
    """The rules of one conversion, as the user gives them to `to_state_dict`."""

    split: Sequence[str] | str
    transpose: Transpose | None
    join: Sequence[str] | str

    def apply(self, values: dict[str, Any], strict: bool) -> dict[str, Any]:
        """Split, transpose and join, in this order: a rule of `transpose` is for single layers.

        `strict`: whether a rule of `transpose` that matches nothing is an error.
        """
        for path in _as_list(self.split):
            values = split_layers(values, path)
        values = _transpose_all(values, self.transpose or {}, strict)
        for path in _as_list(self.join):
            values = join_layers(values, path)
        return values


def _as_list(paths: Sequence[str] | str) -> Sequence[str]:
    return [paths] if isinstance(paths, str) else paths


def _transpose_all(values: dict[str, Any], transpose: Transpose, strict: bool) -> dict[str, Any]:
    """Each value, changed by the first rule that matches its whole name."""
    rules = [(pattern, compile_name_pattern(pattern), rule) for pattern, rule in transpose.items()]
    for text, pattern, _ in rules:
        if strict and not any(map(pattern.fullmatch, values)):
            raise _no_match_error(text, values)
    new = dict(values)
    for name, value in values.items():
        rule = next((rule for _, pattern, rule in rules if pattern.fullmatch(name)), None)
        if rule is not None:
            new[name] = _transpose(name, value, rule)
    return new


def _no_match_error(pattern: str, values: dict[str, Any]) -> SerialiseError:
    nearest = difflib.get_close_matches(pattern, values, 3, cutoff=0.3) or list(values)[:3]
    return SerialiseError(
        f"The rule `{pattern}` of `transpose` fits no whole path. There is, among "
        f"{len(values)}: {', '.join(f'`{name}`' for name in nearest) or 'nothing'}."
    )


def _transpose(name: str, value: Any, rule: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise SerialiseError("`transpose` has a rule for it, but it is not an array.").at(name)
    try:
        new = rule(value) if callable(rule) else value.transpose(tuple(rule))
    except ValueError as error:
        message = f"an array of shape {value.shape} cannot be transposed to {rule}: {error}."
        raise SerialiseError(message).at(name) from error
    return np.array(new, order="C")  # a copy, also of the view that `transpose` gives
