"""What is read of an array that is also written, computed once, before the write.

A workaround for XLA's CPU compiler; on other platforms it is nothing. XLA fuses a read into every
consumer. Where one of these does not come before the write to the array, the read of the old array
must survive the write, and XLA copies the whole array, in each step of the loop. Nothing is fused
into a conditional, nor over it.

Seen to be needed with JAX 0.7.2, 0.10.2 and 0.12.0. With 0.7.2 and 0.10.2 nothing simpler helps;
with 0.12.0 a `jax.lax.optimization_barrier` does as well. So the conditional can become a barrier
when JAX before 0.12 is no longer supported, and the module can go when a read that is left as it is
copies nothing. `tests/filtered_transforms/_reverse_loops/test_compiler_tricks.py` tests each.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .batching import any_of


def materialise(x: Any, indices: Sequence[Any]) -> Any:
    """`x`, which was read of an array at `indices`, in a loop that also writes to it."""
    index = next((i for i in indices if i.size > 0), None)
    if index is None:
        return x
    # Must not be constant-folded: no valid index equals `iinfo.min`, but XLA cannot prove it. With
    # a constant, the conditional would be inlined, and fused as if it were not there. Small and
    # unsigned integers are widened first, so that none of their values equals it. Under `vmap` the
    # predicate must stay one scalar (`any_of`): a batched one would turn the branches into selects.
    dtype = jnp.int64 if index.dtype.itemsize == 8 else jnp.int32
    return _branch(x, any_of(jnp.min(index).astype(dtype) == jnp.iinfo(dtype).min))


@jax.custom_jvp
def _branch(x: Any, never: Any) -> Any:
    return jax.lax.platform_dependent(x, never, cpu=_by_branch, default=lambda x, _: x)


# The identity, linear: a tangent needs no branch, and must have none in reverse, where it would be
# transposed to a branch around the cotangent of the whole array.
@_branch.defjvp
def _branch_jvp(primals: Any, tangents: Any) -> Any:
    return _branch(*primals), tangents[0]


def _by_branch(x: Any, never: Any) -> Any:
    # Both branches are the identity. They differ by the barrier, which costs nothing: two branches
    # of one program would be merged, and the conditional dropped.
    return jax.lax.cond(never, jax.lax.optimization_barrier, lambda x: x, x)
