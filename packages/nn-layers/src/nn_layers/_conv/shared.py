"""What `Conv` and `ConvTranspose` share: fields, the checks of arguments and input, parameters."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.initialisers import draw_weight_and_bias
from nn_layers._core.shape_errors import ONE_CHANNEL, refuse_shape, shape_of, validate_size
from nn_layers._types import DType, Padding, PaddingMode, PerDimension
from pytree_module import Module, field

from .padding import per_dimension, read_padding, read_padding_mode


def _check_groups(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Refuses groups that do not divide the channels."""
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups != 0:
            raise ValueError(
                f"`{layer}`: `{name}` (={channels}) must be divisible by `groups` (={groups})."
            )


class Convolution(Module):
    """Base class of `Conv` and `ConvTranspose`, with the fields that come first in both."""

    num_spatial_dims: int = field(static=True)
    weight: Array
    bias: Array | None
    in_channels: int = field(static=True)
    out_channels: int = field(static=True)
    kernel_size: tuple[int, ...] = field(static=True)
    stride: tuple[int, ...] = field(static=True)
    padding: Any = field(static=True)

    def _set_channels(
        self, in_channels: int, out_channels: int, groups: int, use_bias: bool
    ) -> None:
        """Checks and sets the fields of these names."""
        layer: Any = self  # `groups` and `use_bias` are declared by `Conv` and `ConvTranspose`
        name = type(self).__name__
        self.in_channels = in_channels = validate_size(name, "in_channels", in_channels)
        self.out_channels = out_channels = validate_size(name, "out_channels", out_channels)
        layer.groups = groups = validate_size(name, "groups", groups, least=1)
        _check_groups(name, in_channels, out_channels, groups)
        layer.use_bias = use_bias

    def _set_geometry(
        self,
        num_spatial_dims: int,
        kernel_size: PerDimension,
        stride: PerDimension,
        padding: Padding,
        dilation: PerDimension,
        padding_mode: PaddingMode,
    ) -> None:
        """Checks and sets the fields of these names."""
        layer: Any = self  # `dilation` and `padding_mode`: as above
        name = type(self).__name__
        self.num_spatial_dims = ndim = validate_size(name, "num_spatial_dims", num_spatial_dims)
        self.kernel_size = per_dimension(name, "kernel_size", kernel_size, ndim)
        self.stride = per_dimension(name, "stride", stride, ndim)
        layer.dilation = per_dimension(name, "dilation", dilation, ndim)
        layer.padding_mode = read_padding_mode(name, padding_mode)
        self.padding = read_padding(name, padding, ndim, layer.padding_mode)

    def _set_parameters(self, dtype: DType, key: PRNGKeyArray) -> None:
        """Draws `weight` and `bias`. The other fields are set before."""
        layer: Any = self
        channels_per_group = self.in_channels // layer.groups
        self.weight, self.bias = draw_weight_and_bias(
            type(self).__name__,
            key,
            channels_per_group * math.prod(self.kernel_size),
            (self.out_channels, channels_per_group, *self.kernel_size),
            (self.out_channels,) + (1,) * self.num_spatial_dims if layer.use_bias else None,
            dtype,
        )

    def _check_input(self, x: Any) -> Array:
        """The input as an array.

        **Raises:** `ShapeError` for other channels or another number of dimensions, `TypeError` for
        another dtype than that of the parameters.
        """
        layer: Any = self
        received = shape_of(self, x)
        channels = self.weight.shape[1] * layer.groups
        if len(received) != self.num_spatial_dims + 1 or received[0] != channels:
            _refuse_input(self, channels, received)
        if not isinstance(x, jax.Array):
            x = jnp.asarray(x)
        _check_dtype(self, x)
        return x


def _refuse_input(layer: Any, channels: int, received: tuple[int, ...]) -> None:
    """Raises the `ShapeError` of a convolution."""
    dims = [f"dim_{i + 1}" for i in range(layer.num_spatial_dims)]
    fix = ""
    if len(received) == layer.num_spatial_dims and channels == 1:
        fix = ONE_CHANNEL
    elif len(received) == len(dims) + 1 and received[-1] == channels:
        fix = "Channels come first: `layer(jax.numpy.moveaxis(x, -1, 0))`."
    refuse_shape(layer, (f"in_channels={channels}", *dims), received, fix)


def _check_dtype(layer: Any, x: Array) -> None:
    """Refuses an array of another dtype than the parameters."""
    if x.dtype != layer.weight.dtype:
        raise TypeError(
            f"`{type(layer).__name__}` has parameters of dtype {layer.weight.dtype}, but received "
            f"an array of dtype {x.dtype}. A convolution needs the same dtype on both sides: "
            f"convert one of them with `.astype`."
        )
