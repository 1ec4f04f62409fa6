"""One convolution of one example, with a gradient that is right over several devices."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

# The most elements of a kernel for which the program has an operation each; more are a loop.
_UNROLLED = 16


class _Geometry(NamedTuple):
    """How a kernel goes over an input."""

    strides: tuple[int, ...]
    padding: Any
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    groups: int


def convolve(
    x: Array,
    weight: Array,
    *,
    strides: tuple[int, ...],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    groups: int,
) -> Array:
    """`jax.lax.conv_general_dilated` of one example, without a batch axis.

    XLA multiplies the gradient with respect to a kernel in groups by the number of devices that
    hold the same part of the batch (`docs/sharding.md`). Where there are several devices, that
    gradient is written in another way here. A process of one device gets JAX's own, which is the
    same number.
    """
    padding = padding if isinstance(padding, str) else tuple(padding)
    geometry = _Geometry(strides, padding, lhs_dilation, rhs_dilation, groups)
    if groups > 1 and jax.device_count() > 1:
        return _in_groups(x, weight, geometry)
    return _conv(x, weight, geometry)


def _conv(x: Array, weight: Array, geometry: _Geometry) -> Array:
    """The convolution as JAX has it, with a batch axis put on and taken off."""
    y = lax.conv_general_dilated(
        lhs=lax.expand_dims(x, (0,)),
        rhs=weight,
        window_strides=geometry.strides,
        padding=geometry.padding,
        lhs_dilation=geometry.lhs_dilation,
        rhs_dilation=geometry.rhs_dilation,
        feature_group_count=geometry.groups,
    )
    return lax.squeeze(y, (0,))


# Until the oldest JAX that is supported has an XLA that adds up the parts of a convolution over
# the devices that hold different ones only: then `_conv` alone is enough. No release does so far
# (JAX 0.7.2 to 0.12). `test_xla_still_needs_another_gradient_from_us` fails on the first that does.
@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _in_groups(x: Array, weight: Array, geometry: _Geometry) -> Array:
    """`_conv`, whose derivative by the weight is not a convolution."""
    return _conv(x, weight, geometry)


@partial(_in_groups.defjvp, symbolic_zeros=True)
def _in_groups_jvp(
    geometry: _Geometry, primals: tuple[Array, Array], tangents: tuple[Any, Any]
) -> tuple[Array, Array]:
    """The tangent by the input is a convolution; that by the weight, a sum (`_by_elements`)."""
    (x, weight), (dx, dweight) = primals, tangents
    y = _in_groups(x, weight, geometry)
    dy = None if isinstance(dx, SymbolicZero) else _in_groups(dx, weight, geometry)
    if not isinstance(dweight, SymbolicZero):
        by_weight = _by_elements(x, dweight, geometry, y.shape)
        dy = by_weight if dy is None else dy + by_weight
    return y, jnp.zeros_like(y) if dy is None else dy


def _by_elements(x: Array, weight: Array, geometry: _Geometry, shape: tuple[int, ...]) -> Array:
    """The same convolution, as a sum over the elements of the kernel.

    Each is a product of matrices per group, and so is its transpose, which XLA gets right.
    """
    new, kernel, groups = shape[1:], weight.shape[2:], geometry.groups
    if 0 in shape:
        return _conv(x, weight, geometry)
    x = _padded(x, kernel, geometry)
    strides = (1, *geometry.strides)
    window = (x.shape[0], *((n - 1) * s + 1 for n, s in zip(new, geometry.strides, strict=True)))
    count = math.prod(kernel)
    begins = np.indices(kernel).reshape(len(kernel), count).T * geometry.rhs_dilation
    by_element = jnp.moveaxis(weight.reshape(groups, -1, weight.shape[1], count), -1, 0)

    def add_element(y: Array, element: tuple[Array, Any]) -> tuple[Array, None]:
        w, begin = element
        part = lax.dynamic_slice(x, (0, *begin), window)
        part = lax.slice(part, (0,) * x.ndim, window, strides).reshape(groups, -1, *new)
        return y + _each_group(w, part), None

    def add_all(by_element: Array) -> Array:
        # The backward pass cuts the parts out again: kept, they would be as many inputs.
        step = jax.checkpoint(add_element, prevent_cse=False)
        return lax.scan(step, y, (by_element, begins.astype(np.int32)))[0]

    y = jnp.zeros((groups, weight.shape[0] // groups, *new), x.dtype)
    if count > _UNROLLED:
        # Its own derivative, since it is linear: JAX 0.7.2 transposes no other scan in a rule.
        return jax.jvp(add_all, (by_element,), (by_element,))[1].reshape(shape)
    for w, begin in zip(by_element, begins.tolist(), strict=True):
        y, _ = add_element(y, (w, begin))
    return y.reshape(shape)


def _each_group(weight: Array, x: Array) -> Array:
    """In each group, mixes the channels of the input at every position."""
    if weight.shape[2] == 1:  # a product of numbers: XLA is slow at products of 1 x 1 matrices
        return lax.expand_dims(weight[:, :, 0], range(2, x.ndim)) * x
    return jnp.einsum("goi,gi...->go...", weight, x)


def _padded(x: Array, kernel: tuple[int, ...], geometry: _Geometry) -> Array:
    """The input with zeros around it and between its elements."""
    pads = geometry.padding
    if isinstance(pads, str):  # only where nothing lies between the elements
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, geometry.rhs_dilation, strict=True)]
        pads = lax.padtype_to_pads(x.shape[1:], reach, geometry.strides, pads)
    between = [d - 1 for d in geometry.lhs_dilation]
    config = [(low, high, n) for (low, high), n in zip(pads, between, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *config])
