"""What a loop must know about `vmap`: whether a value is batched, and reductions over the batch."""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


@custom_vmap
def any_of(pred: jax.Array) -> jax.Array:
    """Whether `pred` holds for any example. It is unbatched, so that a loop has one condition."""
    return pred


@any_of.def_vmap
def _any_of_mapped(_size: int, _mapped: list[bool], pred: jax.Array) -> tuple[jax.Array, bool]:
    return any_of(jnp.any(pred, axis=0)), False


@custom_vmap
def any_of_kept(pred: jax.Array, anew: jax.Array) -> jax.Array:
    """As `any_of(pred)`, where `anew` is the same value, recomputed.

    Unbatched, `anew` is used: then nothing uses the `pred` in the carry, and XLA removes it.
    Batched, `pred` is used: the body computes it in any case.
    """
    return anew


@any_of_kept.def_vmap
def _any_of_kept_mapped(
    _size: int, mapped: list[bool], pred: jax.Array, anew: jax.Array
) -> tuple[jax.Array, bool]:
    x = pred if mapped[0] else anew
    return any_of(jnp.any(x, axis=0)), False


@custom_vmap
def unless_alone(pred: jax.Array) -> jax.Array:
    """`pred` under `vmap`, else constant True.

    An unbatched body only runs while its predicate holds. XLA removes a constant predicate:
    `select(True, x, y)` is `x`.
    """
    return jnp.ones_like(pred)


@unless_alone.def_vmap
def _unless_alone_mapped(
    _size: int, _mapped: list[bool], pred: jax.Array
) -> tuple[jax.Array, bool]:
    return pred, True


@custom_vmap
def same_for_all(x: jax.Array) -> jax.Array:
    """`x`, an integer that is the same for all examples, unbatched (the maximum over the batch)."""
    return x


@same_for_all.def_vmap
def _same_for_all_mapped(_size: int, _mapped: list[bool], x: jax.Array) -> tuple[jax.Array, bool]:
    return same_for_all(jnp.max(x, axis=0)), False
