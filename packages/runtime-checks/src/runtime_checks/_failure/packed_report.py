"""What the checks of a program have seen, as few arrays: each result of a call costs time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

_FEW = 4096  # elements


def packed(seen: Any, failed: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
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

    def unpack(report: Sequence[Any]) -> Any:
        values = list(report[1:])
        numbers = iter(np.asarray(values.pop(0)) if several else ())
        others = iter(values)
        return tree.unflatten([next(numbers) if f and several else next(others) for f in flags])

    return [failed, *together, *apart], unpack


def unfused(x: Any) -> Any:
    """`x`; predicates and codes of many examples are computed apart from what they come from.

    XLA's CPU compiler writes what an elementwise result comes from into one kernel, reductions
    too, again at each place where they are used: for the codes of a solver under `jax.vmap` that
    took 100 ms to compile. Into a reduction it does not put others, so this is one. It passes over
    `x` once more, so that large arrays, or of a size not known yet, stay as they are.
    """
    if jnp.ndim(x) == 0 or not isinstance(x.size, int) or x.size > _FEW:
        return x
    first = jax.lax.broadcasted_iota(jnp.int32, (2, *x.shape), 0) == 0
    if jnp.issubdtype(x.dtype, jnp.bool_):
        return jnp.any(first & x[None], axis=0)
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jnp.max(jnp.where(first, x[None], jnp.iinfo(x.dtype).min), axis=0)
    return x
