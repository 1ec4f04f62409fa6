"""What a loop has to know of `vmap`: whether it is mapped, and about all examples at once."""

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


@custom_vmap
def any_of(pred: jax.Array) -> jax.Array:
    """Whether `pred` holds for any example: the same for all, so that a loop has one condition."""
    return pred


@any_of.def_vmap
def _any_of_mapped(_size: int, _mapped: list[bool], pred: jax.Array) -> tuple[jax.Array, bool]:
    return any_of(jnp.any(pred, axis=0)), False


@custom_vmap
def any_of_kept(pred: jax.Array, anew: jax.Array) -> jax.Array:
    """As `any_of(pred)`, where `anew` is `pred`, computed anew: taken where it is not mapped.

    Then nothing asks for the `pred` that a loop keeps, and the compiler drops it. Mapped, it is
    computed in the body anyhow.
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
    """`pred` where it differs between examples, else true.

    A loop runs on while any example does, so that a `pred` that is not mapped holds. As a constant
    it leaves no trace in the compiled program: `select(True, x, y)` is `x`.
    """
    return jnp.ones_like(pred)


@unless_alone.def_vmap
def _unless_alone_mapped(
    _size: int, _mapped: list[bool], pred: jax.Array
) -> tuple[jax.Array, bool]:
    return pred, True


@custom_vmap
def same_for_all(x: jax.Array) -> jax.Array:
    """`x`, an integer that is the same for all examples: the greatest."""
    return x


@same_for_all.def_vmap
def _same_for_all_mapped(_size: int, _mapped: list[bool], x: jax.Array) -> tuple[jax.Array, bool]:
    return same_for_all(jnp.max(x, axis=0)), False
