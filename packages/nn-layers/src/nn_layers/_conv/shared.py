"""What convolutions and their transposes share: parameters, arguments, the check of an input."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.initialisers import draw_weight_and_bias
from nn_layers._core.shape_errors import ONE_CHANNEL, refuse_shape, shape_of, size
from nn_layers._types import DType, Padding, PaddingMode
from pytree_module import Module, field

from .padding import padding_pairs, per_dimension

_MODES = ("ZEROS", "REFLECT", "REPLICATE", "CIRCULAR")
_PADDINGS = ("SAME", "SAME_LOWER", "VALID")


def _padding_of(layer: str, value: Any, ndim: int, mode: str) -> Any:
    """The `padding` given to a convolution: a word in capitals, or a pair for each dimension."""
    if isinstance(value, str):
        if value.upper() not in _PADDINGS:
            raise ValueError(
                f"`{layer}`: a `padding` string must be 'SAME', 'SAME_LOWER' or 'VALID', got "
                f"{value!r}."
            )
        return value.upper()
    pairs = padding_pairs(layer, value, ndim)
    if mode != "ZEROS" and any(p < 0 for pair in pairs for p in pair):
        raise ValueError(f"`{layer}`: `padding_mode={mode!r}` takes no negative padding: {value}.")
    return pairs


def _padding_mode_of(layer: str, value: Any) -> str:
    """The `padding_mode` given to a convolution, in capitals."""
    mode = value.upper() if isinstance(value, str) else value
    if mode not in _MODES:
        raise ValueError(
            f"`{layer}`: `padding_mode` must be 'ZEROS', 'REFLECT', 'REPLICATE' or 'CIRCULAR', got "
            f"{value!r}."
        )
    return mode


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

    def _begin(
        self,
        num_spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        padding: Padding,
        dilation: int | Sequence[int],
        groups: int,
        use_bias: bool,
        padding_mode: PaddingMode,
        dtype: DType,
        key: PRNGKeyArray,
    ) -> None:
        """Checks the arguments, and sets the field of each and the initial parameters."""
        layer: Any = self  # the fields that follow are declared by `Conv` and `ConvTranspose`
        name = type(self).__name__
        self.num_spatial_dims = ndim = size(name, "num_spatial_dims", num_spatial_dims)
        self.in_channels = in_channels = size(name, "in_channels", in_channels)
        self.out_channels = out_channels = size(name, "out_channels", out_channels)
        layer.groups = groups = size(name, "groups", groups, least=1)
        _check_groups(name, in_channels, out_channels, groups)
        self.kernel_size = kernel = per_dimension(name, "kernel_size", kernel_size, ndim)
        self.stride = per_dimension(name, "stride", stride, ndim)
        layer.dilation = per_dimension(name, "dilation", dilation, ndim)
        layer.padding_mode = _padding_mode_of(name, padding_mode)
        self.padding = _padding_of(name, padding, ndim, layer.padding_mode)
        layer.use_bias = use_bias
        grouped = in_channels // groups
        self.weight, self.bias = draw_weight_and_bias(
            name,
            key,
            grouped * math.prod(kernel),
            (out_channels, grouped, *kernel),
            (out_channels,) + (1,) * ndim if use_bias else None,
            dtype,
        )

    def _checked(self, x: Any) -> Array:
        """The input as an array. **Raises:** as `__call__`, if it does not fit."""
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
