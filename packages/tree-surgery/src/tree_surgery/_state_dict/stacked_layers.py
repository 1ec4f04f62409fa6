"""Layers in a dictionary: one array for all of them, or one for each."""

import re
from typing import Any

import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._safetensors.rename import compile_pattern


def split_layers(values: dict[str, Any], path: str) -> dict[str, Any]:
    """`path.rest`, with layers along the first axis, becomes `path.0.rest`, `path.1.rest`, ..."""
    pattern = compile_pattern(path)
    hits = {name: found for name in values if (found := pattern.match(name))}
    arrays = {name: values[name] for name in hits if isinstance(values[name], np.ndarray)}
    counts = {x.shape[0] if x.ndim else None: name for name, x in arrays.items()}
    if len(counts) != 1 or None in counts:
        shapes = ", ".join(f"`{name}` of shape {arrays[name].shape}" for name in counts.values())
        raise SerialiseError(
            f"`split={path!r}` needs arrays of which the first axis counts the layers, but found "
            f"{shapes or 'none'}."
        )
    (count,) = counts
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hits:
            new[name] = value
            continue
        at = hits[name].end()
        for i in range(count or 0):
            layer = np.array(value[i]) if name in arrays else value
            new[f"{name[:at]}.{i}{name[at:]}"] = layer
    return new


def join_layers(values: dict[str, Any], path: str) -> dict[str, Any]:
    """`path.0.rest`, `path.1.rest`, ... become `path.rest`, layers along a new first axis."""
    pattern = re.compile(compile_pattern(path).pattern + r"[.\[](\d+)\]?(?=$|[.\[])")
    new: dict[str, Any] = {}
    layers: dict[str, dict[int, Any]] = {}
    for name, value in values.items():
        found = pattern.match(name)
        if found is None:
            new[name] = value
        else:
            number = int(found.groups()[-1])
            start = name[: found.start(len(found.groups())) - 1]
            layers.setdefault(start + name[found.end() :], {})[number] = value
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
    first = parts[0]
    if not isinstance(first, np.ndarray):
        if all(type(x) is type(first) and x == first for x in parts[1:]):
            return first
        raise SerialiseError("only arrays, and numbers that are all equal, can be joined.").at(name)
    kinds = {(x.shape, str(x.dtype)) if isinstance(x, np.ndarray) else None for x in parts}
    if len(kinds) > 1:
        raise SerialiseError(f"layers of different shapes or dtypes: {kinds}.").at(name)
    return np.stack(parts)
