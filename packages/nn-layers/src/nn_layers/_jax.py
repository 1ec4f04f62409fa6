"""The unstable JAX API that this distribution uses."""

from typing import Any

import jax
import jax.tree_util as jtu
from jax import Array, lax
from jax.core import Tracer as Tracer  # JAX 0.7.2 to 0.12: no documented way to tell a traced value


def mapped_name(x: Any) -> Any:
    """The `axis_name` of the innermost `jax.vmap` that `x` is a batch in, or `None`.

    JAX 0.7.2 to 0.12: no documented way to ask. Where the attributes do not exist, none is found.
    """
    while hasattr(x, "primal"):  # it is differentiated, too
        x = x.primal
    return getattr(getattr(getattr(x, "_trace", None), "axis_data", None), "name", None)


def varying_as(tree: Any, *others: Any) -> Any:
    """The arrays of a tree, marked as different on each device wherever those of others are.

    JAX checks within a `shard_map` (`check_vma=True`) that the carry of a loop keeps its type, of
    which that is a part; zeros to begin with are equal on all devices. Outside it does nothing.
    `jax.lax.pvary` on JAX 0.7.2, `jax.lax.pcast` on 0.10.2 and 0.12.
    """
    arrays = [leaf for leaf in jtu.tree_leaves(others) if isinstance(leaf, Array)]
    axes = frozenset[str]().union(*map(_varying_axes, arrays))

    def mark(x: Array) -> Array:
        missing = tuple(sorted(axes - _varying_axes(x)))
        if not missing:
            return x
        if hasattr(lax, "pcast"):
            return lax.pcast(x, missing, to="varying")
        return getattr(lax, "pvary")(x, missing)  # noqa: B009 - checkers see a newer JAX

    return jtu.tree_map(mark, tree)


def _varying_axes(x: Array) -> frozenset[str]:
    """`vma` of its type on JAX 0.7.2; `varying` of its `manual_axis_type` on 0.10.2 and 0.12."""
    aval: Any = jax.typeof(x)
    kind = getattr(aval, "manual_axis_type", None)
    return getattr(aval, "vma", frozenset()) if kind is None else kind.varying
