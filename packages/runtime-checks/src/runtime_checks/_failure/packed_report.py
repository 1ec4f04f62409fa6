"""What the checks of a program have seen, as few arrays: each result of a call costs time."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

_FEW = 4096  # elements


def packed(seen: Any, failed: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The results for what was seen, and how to have it back from their values.

    The first result is true if any check has failed; what is one boolean each is one array.

    **Arguments:**

    - `seen`: a tree of arrays.
    - `failed`: whether any check has failed.
    """
    flat, tree = jtu.tree_flatten(seen)
    if len(flat) == 1 and jnp.ndim(flat[0]) == 0:
        return flat, tree.unflatten
    flags = [jnp.ndim(x) == 0 and jnp.issubdtype(x.dtype, jnp.bool_) for x in flat]
    several = sum(flags) > 1
    apart = [unfused(x) for x, flag in zip(flat, flags, strict=True) if not (flag and several)]
    flagged = [x for x, flag in zip(flat, flags, strict=True) if flag]
    together = [jnp.stack(flagged)] if several else []

    def unpack(report: Iterable[Any]) -> Any:
        _, *values = report
        numbers = iter(np.asarray(values.pop(0)) if several else ())
        others = iter(values)
        return tree.unflatten([next(numbers) if f and several else next(others) for f in flags])

    return [failed, *together, *apart], unpack


def whole(x: Any) -> Any:
    """An array of which other processes of a job may hold a part; then all of them have to ask."""
    if not isinstance(x, jax.Array) or x.is_fully_addressable:
        return x
    from jax.experimental import multihost_utils  # loaded where there are several processes

    return multihost_utils.process_allgather(x, tiled=True)


def unfused(x: Any) -> Any:
    """`x`; predicates and codes of many examples are computed apart from what they come from.

    It passes over `x` once more, so that large arrays, or of a size not known yet, stay as they
    are.
    """
    # XLA's CPU compiler fuses an elementwise result with all that it comes from, reductions too,
    # and writes them again into each kernel that uses the result: for the codes of a solver under
    # `jax.vmap` one such kernel took 100 ms to compile. It does not fuse one reduction into
    # another, so `x` is made the result of a reduction: over an axis of two, of which the second
    # element is neutral. The compiler must not see that it is: hence the iota, not a constant.
    # Seen to be needed in JAX 0.7.2, 0.10.2 and 0.12. It can go when `test_packed_report.py` finds
    # no kernel with several reductions without it, in the oldest JAX that is supported.
    if jnp.ndim(x) == 0 or not isinstance(x.size, int) or x.size > _FEW:
        return x
    first = jax.lax.broadcasted_iota(jnp.int32, (2, *x.shape), 0) == 0
    if jnp.issubdtype(x.dtype, jnp.bool_):
        return jnp.any(first & x[None], axis=0)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jnp.max(jnp.where(first, x[None], jnp.iinfo(x.dtype).min), axis=0)
    return x
