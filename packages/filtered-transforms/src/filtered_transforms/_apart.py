"""What is read of an array that is also written, computed once, before the write."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ._mapped import any_of


def apart(x: Any, indices: Sequence[Any]) -> Any:
    """`x`, which was read of an array at `indices`, in a loop that also writes to it.

    XLA's CPU compiler reads it anew in each kernel that uses it. If one of them does not come
    before the write, it copies the array in each step. What comes out of a branch is computed once.
    """
    index = next((i for i in indices if i.size > 0), None)
    if index is None or jnp.issubdtype(x.dtype, jax.dtypes.extended):  # keys have no zero
        return x
    # No index is as small as that, which the compiler does not know.
    return _apart(x, any_of(jnp.min(index) == jnp.iinfo(index.dtype).min))


@jax.custom_jvp
def _apart(x: Any, never: Any) -> Any:
    return jax.lax.platform_dependent(x, never, cpu=_by_branch, default=lambda x, _: x)


@_apart.defjvp
def _apart_jvp(primals: Any, tangents: Any) -> Any:
    return _apart(*primals), tangents[0]


def _by_branch(x: Any, never: Any) -> Any:
    return jax.lax.cond(never, jnp.zeros_like, lambda x: x, x)
