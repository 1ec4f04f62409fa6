"""What is read of an array that is also written, computed once, before the write."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .batching import any_of


def materialise(x: Any, indices: Sequence[Any]) -> Any:
    """`x`, which was read of an array at `indices`, in a loop that also writes to it.

    XLA's CPU compiler reads it anew in each kernel that uses it. If one of them does not come
    before the write, it copies the array in each step. What comes out of a branch is computed once.
    """
    index = next((i for i in indices if i.size > 0), None)
    if index is None:
        return x
    # Hardly an index is as small as that, which the compiler does not know.
    dtype = jnp.int64 if index.dtype.itemsize == 8 else jnp.int32
    return _hidden(x, any_of(jnp.min(index).astype(dtype) == jnp.iinfo(dtype).min))


@jax.custom_jvp
def _hidden(x: Any, rare: Any) -> Any:
    return jax.lax.platform_dependent(x, rare, cpu=_by_branch, default=lambda x, _: x)


@_hidden.defjvp
def _hidden_jvp(primals: Any, tangents: Any) -> Any:
    return _hidden(*primals), tangents[0]


def _by_branch(x: Any, rare: Any) -> Any:
    # JAX would see through two branches that are the same.
    return jax.lax.cond(rare, jax.lax.optimization_barrier, lambda x: x, x)
