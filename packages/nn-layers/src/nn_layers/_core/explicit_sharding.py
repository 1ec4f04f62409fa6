"""Operations for which JAX finds no sharding on explicit axes."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes
from jaxtyping import Array


def on_automatic_axes(function: Callable[..., Array], *args: Array, drop: int = 0) -> Array:
    """`function(*args)`, for which XLA finds the sharding, as it does on automatic axes.

    On explicit axes (`jax.sharding.AxisType.Explicit`) the result is sharded as the first argument
    without its first `drop` dimensions. On others this is a plain call.
    """
    shardings = [jax.typeof(x).sharding for x in args]
    for mesh in (s.mesh for s in shardings):
        if AxisType.Explicit in mesh.axis_types:
            out = NamedSharding(mesh, PartitionSpec(*shardings[0].spec[drop:]))
            automatic: Any = auto_axes(function, out_sharding=out)
            return automatic(*args)
    return function(*args)
