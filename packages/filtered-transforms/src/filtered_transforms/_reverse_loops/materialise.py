"""Reads of an array that the loop also writes: computed once, before the write.

A workaround for XLA:CPU; on other platforms it is the identity. XLA fuses a read into every
consumer. If a consumer is not ordered before the write, the fused read needs the old array after
the write, and XLA copies the whole array in each step. XLA does not fuse into a conditional, nor
across one.

Needed with JAX 0.7.2, 0.10.2 and 0.12.0. With 0.7.2 and 0.10.2 nothing simpler helps; with 0.12.0 a
`jax.lax.optimization_barrier` suffices. So the conditional can become a barrier when JAX before
0.12 is no longer supported. The module can go when a plain read copies nothing.
`tests/filtered_transforms/_reverse_loops/test_compiler_tricks.py` tests each.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .batching import any_of


def materialise(x: Any, indices: Sequence[Any]) -> Any:
    """Compute `x = array[indices]` once, before the loop writes to `array`.

    XLA:CPU otherwise re-reads it in every consumer and copies the array each step.
    """
    index = next((i for i in indices if i.size > 0), None)
    if index is None:
        return x
    # Must not be constant-folded: no valid index equals `iinfo.min`, but XLA cannot prove it. With
    # a constant predicate, XLA would inline the conditional, and fuse across it. Small and unsigned
    # integers are widened first, so that none of their values equals it. Under `vmap` the predicate
    # must stay a scalar (`any_of`): a batched one would turn the branches into selects.
    dtype = jnp.int64 if index.dtype.itemsize == 8 else jnp.int32
    return _branch(x, any_of(jnp.min(index).astype(dtype) == jnp.iinfo(dtype).min))


@jax.custom_jvp
def _branch(x: Any, never: Any) -> Any:
    return jax.lax.platform_dependent(x, never, cpu=_by_branch, default=lambda x, _: x)


# The derivative is the plain identity. A branch in the tangent would be transposed to a branch
# around the cotangent of the whole array.
@_branch.defjvp
def _branch_jvp(primals: Any, tangents: Any) -> Any:
    return _branch(*primals), tangents[0]


def _by_branch(x: Any, never: Any) -> Any:
    # Both branches are the identity. They differ by the barrier, which costs nothing: XLA would
    # merge two equal branches, and remove the conditional.
    return jax.lax.cond(never, jax.lax.optimization_barrier, lambda x: x, x)
