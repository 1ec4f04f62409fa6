"""What JAX hands to the rules of primitives in the place of arrays, and wants to have of them.

Decided here: what a symbolic zero, an undefined operand and a constant is taken for. Of
`jax.interpreters.ad`. Seen to work with JAX 0.7.2 to 0.12.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad

ShapedArray = jax.core.ShapedArray


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent is a symbolic zero."""
    return isinstance(tangent, ad.Zero)


def is_undefined(x: Any) -> bool:
    """Whether `x` stands for the linear argument of a transpose rule."""
    return isinstance(x, ad.UndefinedPrimal)


def zero_tangent(x: Any) -> Any:
    """The symbolic zero among the tangents of an array, or of its shape and dtype."""
    aval = x if isinstance(x, ShapedArray) else jax.typeof(x)
    return ad.Zero(aval.to_tangent_aval())


def zero_cotangent(x: Any) -> Any:
    """The symbolic zero among cotangents, for anything that has a shape and dtype."""
    return ad.Zero(shaped_array(x))


def zeros_of(x: Any) -> jax.Array:
    """An array of zeros, for a symbolic zero or an undefined operand."""
    aval = shaped_array(x)
    return jnp.zeros(aval.shape, aval.dtype)


def undefined(x: Any) -> Any:
    """What stands for a linear argument of this shape and dtype, for a transpose rule."""
    return ad.UndefinedPrimal(shaped_array(x))


def shaped_array(x: Any) -> Any:
    """The abstract value of what a rule is given: an array, a symbolic zero, an undefined operand.

    Also of a `jax.ShapeDtypeStruct`, and of an abstract value itself.
    """
    if isinstance(x, ShapedArray):
        return x
    if isinstance(x, (ad.Zero, ad.UndefinedPrimal)):
        return x.aval
    if isinstance(x, jax.ShapeDtypeStruct):
        return ShapedArray(x.shape, x.dtype, weak_type=getattr(x, "weak_type", False))
    return jax.typeof(x)


_ARRAYS = (
    jax.Array,
    jax.core.Tracer,
    np.ndarray,
    np.generic,
    jax.core.ShapedArray,
    ad.Zero,
    ad.UndefinedPrimal,
)


def as_array(x: Any) -> Any:
    """What JAX hands to a rule for an array, as one.

    A constant comes as a number: Python's, or since JAX 0.9 of a subclass that knows its dtype;
    before, also as a class of JAX's own. Taken for what it looks like, it would be static.
    """
    return x if isinstance(x, _ARRAYS) else jnp.asarray(x)


def as_arrays(xs: Iterable[Any]) -> list[Any]:
    """The same for several."""
    return list(map(as_array, xs))
