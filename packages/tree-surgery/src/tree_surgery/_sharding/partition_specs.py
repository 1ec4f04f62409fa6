"""A partition spec for one array on one mesh: what it may say, and the checks of it.

A spec says for each dimension of an array over which axes of the mesh it is split. It is checked
here before JAX sees it, because JAX does not know the path of the array.
"""

import math
from typing import Any

from jax.sharding import PartitionSpec

from tree_surgery._errors import ShardingError
from tree_surgery._types import AnyMesh

Axes = tuple[str, ...]
"""The axes of a mesh over which one dimension is split; none, if each device has all of it."""


def axes_by_dimension(spec: PartitionSpec, ndim: int) -> list[Axes]:
    """The mesh axes of each dimension. `spec` may be shorter than the shape, never longer."""
    axes = [_as_axes(entry) for entry in spec]
    return axes + [()] * (ndim - len(axes))


def spec_of(axes: list[Axes]) -> PartitionSpec:
    """The spec that has these axes, without empty entries at its end."""
    entries: list[Any] = [names[0] if len(names) == 1 else names or None for names in axes]
    while entries and entries[-1] is None:
        entries.pop()
    return PartitionSpec(*entries)


def parts(axes: Axes, mesh: AnyMesh) -> int:
    """Into how many parts a dimension is split."""
    return math.prod(mesh.shape[name] for name in axes)


def check_spec(spec: Any, path: str, shape: tuple[int, ...], mesh: AnyMesh) -> None:
    """**Raises:** `ShardingError` if an array of this shape cannot be laid out so on this mesh."""
    if not isinstance(spec, PartitionSpec):
        raise _error(
            f"it must be a `jax.sharding.PartitionSpec`, but it is `{spec!r}` of type "
            f"`{type(spec).__name__}`",
            spec, path, shape, mesh,
        )  # fmt: skip
    names = [name for entry in spec for name in _as_axes(entry)]
    for name in names:
        if name not in mesh.shape:
            raise _error(f"the mesh has no axis {name!r}", spec, path, shape, mesh)
        if names.count(name) > 1:
            raise _error(f"it has the axis {name!r} twice", spec, path, shape, mesh)
    if len(spec) > len(shape):
        raise _error(
            f"it names {len(spec)} dimensions, and the array has {len(shape)}",
            spec, path, shape, mesh,
        )  # fmt: skip
    for i, axes in enumerate(axes_by_dimension(spec, len(shape))):
        count = parts(axes, mesh)
        if shape[i] % count:
            raise _error(
                f"dimension {i}, of size {shape[i]}, does not divide into {count} equal parts "
                f"({-shape[i] % count} elements are missing to {shape[i] + -shape[i] % count})",
                spec, path, shape, mesh,
            )  # fmt: skip


def _as_axes(entry: Any) -> Axes:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return tuple(entry) if isinstance(entry, tuple) else (entry,)


def _error(
    problem: str, spec: Any, path: str, shape: tuple[int, ...], mesh: AnyMesh
) -> ShardingError:
    sizes = ", ".join(f"{name}={size}" for name, size in mesh.shape.items())
    return ShardingError(
        f"`{path or 'the tree itself'}`, an array of shape {shape}, cannot be sharded by "
        f"`{spec}` over the mesh ({sizes}): {problem}.",
        path=path, shape=shape, spec=spec, mesh=mesh,
    )  # fmt: skip
