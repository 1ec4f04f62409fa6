"""Layers in a state dictionary: one array for all layers, or one array for each.

Here is decided which names are layers of one stack: `path.0.rest`, `path.1.rest`, and so on, with
no number left out.
"""

import re
from typing import Any

import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._safetensors.rename import compile_name_pattern


def split_layers(values: dict[str, Any], path: str) -> dict[str, Any]:
    """`path.rest`, with layers along the first axis, becomes `path.0.rest`, `path.1.rest`, ...

    A number below `path` belongs to every layer.
    """
    pattern = compile_name_pattern(path)
    matches = {name: match for name in values if (match := pattern.match(name))}
    count = _count_layers({name: values[name] for name in matches}, path)
    new: dict[str, Any] = {}
    for name, value in values.items():
        match = matches.get(name)
        if match is None:
            new[name] = value
            continue
        start, rest = name[: match.end()], name[match.end() :]
        for i in range(count):
            # A copy: a view would keep the whole stack in memory for one layer.
            layer = np.array(value[i]) if isinstance(value, np.ndarray) else value
            new[f"{start}.{i}{rest}"] = layer
    return new


def _count_layers(stacked: dict[str, Any], path: str) -> int:
    """The length of the first axis, which all arrays must have in common."""
    arrays = {name: x for name, x in stacked.items() if isinstance(x, np.ndarray)}
    counts = {x.shape[0] if x.ndim else None: name for name, x in arrays.items()}
    if len(counts) == 1:
        (count,) = counts
        if count is not None:
            return count
    shapes = ", ".join(f"`{name}` of shape {arrays[name].shape}" for name in counts.values())
    raise SerialiseError(
        f"`split={path!r}` needs arrays of which the first axis counts the layers, but found "
        f"{shapes or 'none'}."
    )


def join_layers(values: dict[str, Any], path: str) -> dict[str, Any]:
    """`path.0.rest`, `path.1.rest`, ... become `path.rest`, layers along a new first axis."""
    # The number of the layer, dotted or in brackets, is the last group of the pattern.
    pattern = re.compile(compile_name_pattern(path).pattern + r"[.\[](\d+)\]?(?=$|[.\[])")
    new: dict[str, Any] = {}
    layers: dict[str, dict[int, Any]] = {}
    for name, value in values.items():
        match = pattern.match(name)
        if match is None:
            new[name] = value
        else:
            number = int(match.groups()[-1])
            start = name[: match.start(len(match.groups())) - 1]  # without the dot or the bracket
            layers.setdefault(start + name[match.end() :], {})[number] = value
    if not layers:
        raise SerialiseError(
            f"`join={path!r}` found no layers `{path}.0`, `{path}.1`, ... to join."
        )
    for name, parts in layers.items():
        if sorted(parts) != list(range(len(parts))):
            raise SerialiseError(
                f"`join={path!r}` needs the layers 0, 1, ... of `{name}`, but found "
                f"{sorted(parts)}.",
                path=name,
            )
        new[name] = _stack(name, [parts[i] for i in range(len(parts))])
    return new


def _stack(name: str, parts: list[Any]) -> Any:
    """One array of all layers; of numbers, which have no axis, one that all layers share."""
    first = parts[0]
    if not isinstance(first, np.ndarray):
        if all(type(x) is type(first) and x == first for x in parts[1:]):
            return first
        raise SerialiseError("only arrays, and numbers that are all equal, can be joined.").at(name)
    kinds = {(x.shape, str(x.dtype)) if isinstance(x, np.ndarray) else None for x in parts}
    if len(kinds) > 1:
        raise SerialiseError(f"layers of different shapes or dtypes: {kinds}.").at(name)
    return np.stack(parts)
