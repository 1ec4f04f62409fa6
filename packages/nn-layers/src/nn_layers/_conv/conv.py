"""Convolutions."""

from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._types import DType, Padding, PaddingMode
from pytree_module import field
from tree_surgery.extend import public

from .convolve import convolve
from .fixed_dimensions import specialise
from .padding import check_reach
from .shared import Convolution

_PAD_MODES = {"REFLECT": "reflect", "REPLICATE": "edge", "CIRCULAR": "wrap"}


@public
class Conv(Convolution):
    r"""A convolution over any number of spatial dimensions (a cross-correlation, strictly).

    For output channel $o$ in group $g$, and a position $t$ with one entry per spatial dimension:
    $$y_{o,t} = b_o + \sum_{c \in g} \sum_{s} w_{o,c,s} \, \tilde x_{c,\ t \cdot \texttt{stride} +
    s \cdot \texttt{dilation}}$$
    where $\tilde x$ is the padded input and $s$ runs over the kernel.

    **Shapes:** the input is `(in_channels, dim_1, ..., dim_N)` and the output
    `(out_channels, new_dim_1, ..., new_dim_N)`, without a batch axis, with
    `new_dim = (dim + before + after - dilation * (kernel_size - 1) - 1) // stride + 1`. `weight` is
    `(out_channels, in_channels // groups, *kernel_size)` and `bias` `(out_channels, 1, ..., 1)`.

    **Initialisation:** `weight` and `bias` are uniform on $[-k, k)$ with $k = 1/\sqrt{f}$ and
    $f = \texttt{in\_channels} / \texttt{groups} \cdot \prod \texttt{kernel\_size}$.

    **Arguments:**

    - `num_spatial_dims`: how many spatial dimensions the input has: 1 for a signal, 2 for an image.
    - `in_channels`, `out_channels`: the channels of input and output.
    - `kernel_size`, `stride`, `dilation`: an integer for all spatial dimensions, or a sequence of
        one each.
    - `padding`: an integer for all sides; or a sequence with, for each spatial dimension, an
        integer or a pair `(before, after)`; or `"VALID"` for none, or `"SAME"` for an output of
        size `ceil(dim / stride)`, where an odd rest goes after (`"SAME_LOWER"`: before) the input.
    - `groups`: splits the channels into groups which are convolved apart: `groups=in_channels` is
        a depthwise convolution (which XLA compiles to slow code for CPUs: jax#23713).
    - `use_bias`: whether to add a bias for each output channel.
    - `padding_mode`: what is padded with: `"ZEROS"`, `"REFLECT"` (mirrored at the edge),
        `"REPLICATE"` (the edge again), `"CIRCULAR"` (from the other side).
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the initial parameters are drawn from.

    **Raises:** `ValueError` or `TypeError` naming the argument that is none.

    **Source:** [LeCun et al., "Backpropagation Applied to Handwritten Zip Code Recognition",
    1989](https://doi.org/10.1162/neco.1989.1.4.541).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Conv

        conv = Conv(2, 3, 8, kernel_size=3, padding="SAME", key=jax.random.key(0))
        image = jnp.ones((3, 28, 28))
        assert conv(image).shape == (8, 28, 28)

        depthwise = Conv(1, 4, 4, 3, groups=4, key=jax.random.key(1))
        assert depthwise.weight.shape == (4, 1, 3)
        ```
    """

    dilation: tuple[int, ...] = field(static=True)
    groups: int = field(static=True)
    use_bias: bool = field(static=True)
    padding_mode: str = field(static=True)

    def __init__(
        self,
        num_spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        padding_mode: PaddingMode = "ZEROS",
        dtype: DType = None,
        *,
        key: PRNGKeyArray,
    ):
        self._begin(
            num_spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            use_bias,
            padding_mode,
            dtype,
            key,
        )

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Convolves one example.

        **Arguments:**

        - `x`: of shape `(in_channels, dim_1, ..., dim_N)`, of the dtype of the parameters.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(out_channels, new_dim_1, ..., new_dim_N)`.

        **Raises:** `ShapeError` for an `x` with other channels or another number of dimensions, or
        smaller than the kernel; `TypeError` for one of another dtype.
        """
        x = self._checked(x)
        padding = self.padding
        if not isinstance(padding, str) or padding == "VALID":
            self._check_reach(x.shape)
        if self.padding_mode != "ZEROS":
            x, padding = self._pad(x), "VALID"
        y = convolve(
            x,
            self.weight,
            strides=self.stride,
            padding=padding,
            lhs_dilation=(1,) * self.num_spatial_dims,
            rhs_dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias

    def _check_reach(self, received: tuple[int, ...]) -> None:
        """Refuses an input that is smaller than the kernel."""
        padding = ((0, 0),) * self.num_spatial_dims if self.padding == "VALID" else self.padding
        channels = f"in_channels={received[0]}"
        check_reach(self, channels, received, padding, self._reach())

    def _reach(self) -> tuple[int, ...]:
        """From the first to the last element of the input that the kernel sees at once."""
        both = zip(self.kernel_size, self.dilation, strict=True)
        return tuple((k - 1) * d + 1 for k, d in both)

    def _pad(self, x: Array) -> Array:
        padding = self.padding
        if isinstance(padding, str):
            padding = lax.padtype_to_pads(x.shape[1:], self._reach(), self.stride, padding)
        return jnp.pad(x, ((0, 0), *padding), mode=_PAD_MODES[self.padding_mode])


class _ConvNd(Conv):
    """`Conv` with the number of spatial dimensions fixed by the class."""

    _ndim: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        padding_mode: PaddingMode = "ZEROS",
        dtype: DType = None,
        *,
        key: PRNGKeyArray,
    ):
        super().__init__(
            self._ndim,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            use_bias,
            padding_mode,
            dtype,
            key=key,
        )

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "_ndim" in vars(cls):
            specialise(cls, cls._ndim, formula=Conv, sections=Conv, tuples=True)


@public
class Conv1d(_ConvNd, init=False):
    """A one-dimensional convolution: over a signal `(in_channels, length)`.

    It is `Conv` with `num_spatial_dims=1`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Conv1d

        conv = Conv1d(2, 4, kernel_size=3, stride=2, padding=1, key=jax.random.key(0))
        assert conv(jnp.ones((2, 16))).shape == (4, 8)
        ```
    """

    _ndim: ClassVar[int] = 1


@public
class Conv2d(_ConvNd, init=False):
    """A two-dimensional convolution: over an image `(in_channels, height, width)`.

    It is `Conv` with `num_spatial_dims=2`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Conv2d

        conv = Conv2d(3, 8, kernel_size=3, padding="SAME", key=jax.random.key(0))
        images = jnp.ones((5, 3, 28, 28))
        assert jax.vmap(conv)(images).shape == (5, 8, 28, 28)
        ```
    """

    _ndim: ClassVar[int] = 2


@public
class Conv3d(_ConvNd, init=False):
    """A three-dimensional convolution: over a volume `(in_channels, depth, height, width)`.

    It is `Conv` with `num_spatial_dims=3`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Conv3d

        conv = Conv3d(1, 2, kernel_size=(1, 3, 3), key=jax.random.key(0))
        assert conv(jnp.ones((1, 8, 8, 8))).shape == (2, 8, 6, 6)
        ```
    """

    _ndim: ClassVar[int] = 3
