"""Operations for which JAX finds no sharding on explicit axes.

On explicit axes of a mesh (`jax.sharding.AxisType.Explicit`) the sharding of an array is a part of
its type, and JAX derives that of each result, or refuses the operation. Here is decided what the
sharding of a result is where JAX refuses. On other axes each function is the plain operation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes
from jaxtyping import Array


def on_automatic_axes(function: Callable[..., Array], *args: Array, drop: int = 0) -> Array:
    """`function(*args)`, for which XLA finds the sharding, as it does on automatic axes.

    On explicit axes the result is sharded as the first argument without its first `drop`
    dimensions.
    """
    shardings = [jax.typeof(x).sharding for x in args]
    for mesh in (s.mesh for s in shardings):
        if AxisType.Explicit in mesh.axis_types:
            out = NamedSharding(mesh, PartitionSpec(*shardings[0].spec[drop:]))
            automatic: Any = auto_axes(function, out_sharding=out)
            return automatic(*args)
    return function(*args)


def has_explicit_axes() -> bool:
    """Whether the mesh of `jax.set_mesh` has explicit axes. To ask an array takes longer."""
    return AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types


def matrix_product(a: Array, b: Array) -> Array:
    """`a @ b` of a matrix and a vector or matrix, also where the contracted dimension is split.

    Each device then multiplies its parts, and the sum over devices (an all-reduce) is the result.
    If only one of both is split there, the other is split alike, which sends nothing. If that axis
    already splits another dimension of the result, the contracted dimension is gathered.
    """
    if not has_explicit_axes():
        return a @ b
    (*rows, left), (right, *columns) = _spec_of(a), _spec_of(b)
    out = PartitionSpec(*rows, *columns)
    inner = left if left is not None else right
    if inner is not None and _names(inner) & {name for entry in out for name in _names(entry)}:
        inner = None
    a = _resharded(a, PartitionSpec(*rows, inner))
    b = _resharded(b, PartitionSpec(inner, *columns))
    return a @ b if inner is None else jnp.matmul(a, b, out_sharding=out)


def with_sharding_of(y: Array, x: Array, dimensions: slice = slice(None)) -> Array:
    """`y`, resharded to the sharding of `x`: as the carry of a loop has to be.

    `dimensions`: those that follow `x`; the others stay as they are.
    """
    if not has_explicit_axes():
        return y
    entries = list(_spec_of(y))
    entries[dimensions] = list(_spec_of(x))[dimensions]
    return _resharded(y, PartitionSpec(*entries))


def _resharded(x: Array, spec: PartitionSpec) -> Array:
    return x if spec == _spec_of(x) else jax.sharding.reshard(x, spec)


def _spec_of(x: Array) -> PartitionSpec:
    return jax.typeof(x).sharding.spec


def _names(entry: Any) -> set[str]:
    return set() if entry is None else {entry} if isinstance(entry, str) else set(entry)
