"""Transposed convolutions."""

from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import refuse_shape
from nn_layers._types import DType, Padding, PaddingMode
from pytree_module import field
from tree_surgery.extend import public

from .convolve import convolve
from .fixed_dimensions import specialise
from .padding import per_dimension
from .shared import Convolution


@public
class ConvTranspose(Convolution):
    r"""A transposed convolution: the map of inputs by which `Conv` maps gradients back.

    For output channel $o$ in group $g$, and a position $t$ with one entry per spatial dimension:
    $$y_{o,t} = b_o + \sum_{c \in g} \sum_{s} w_{o,c,s} \, \hat x_{c,\ t + s \cdot
    \texttt{dilation}}$$
    where $\hat x$ is the input with `stride - 1` zeros between its elements, padded with
    `dilation * (kernel_size - 1) - padding` of them, and $s$ runs over the kernel.

    It undoes what `Conv` with the same `kernel_size`, `stride`, `padding` and `dilation` does to a
    shape. The kernel is not flipped: to be the very transpose of `Conv`, and for weights of PyTorch
    (`(in_channels, out_channels // groups, *kernel_size)`), swap the axes of channels in each group
    and flip along all spatial axes. Without groups: `jax.numpy.flip(w.swapaxes(0, 1), (2, ...))`.

    **Shapes:** the input is `(in_channels, dim_1, ..., dim_N)` and the output
    `(out_channels, new_dim_1, ..., new_dim_N)`, without a batch axis, with
    `new_dim = (dim - 1) * stride - before - after + dilation * (kernel_size - 1) + 1 +
    output_padding`, or `dim * stride - output_padding` for `padding="SAME"`. `weight` is
    `(out_channels, in_channels // groups, *kernel_size)` and `bias` `(out_channels, 1, ..., 1)`.

    **Initialisation:** `weight` and `bias` are uniform on $[-k, k)$ with $k = 1/\sqrt{f}$ and
    $f = \texttt{in\_channels} / \texttt{groups} \cdot \prod \texttt{kernel\_size}$.

    **Arguments:**

    - `num_spatial_dims`: how many spatial dimensions the input has.
    - `in_channels`, `out_channels`: the channels of input and output.
    - `kernel_size`, `stride`, `dilation`: of the `Conv` to be undone: an integer for all spatial
        dimensions, or a sequence of one each.
    - `padding`: of the `Conv` to be undone, as there: what it pads, this takes away.
    - `output_padding`: which of the shapes that `Conv` maps to that of the input the output has,
        since there are `stride` many: at least 0 and less than `stride`.
    - `groups`: splits the channels into groups which are convolved apart.
    - `use_bias`: whether to add a bias for each output channel.
    - `padding_mode`: `"ZEROS"`; or, for `padding="SAME"`, `"CIRCULAR"`.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the initial parameters are drawn from.

    **Raises:** `ValueError` or `TypeError` naming the argument that is none, `NotImplementedError`
    for other padding modes.

    **Source:** [Dumoulin and Visin, "A guide to convolution arithmetic",
    2016](https://arxiv.org/abs/1603.07285).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Conv, ConvTranspose

        options = {"kernel_size": 3, "stride": 2, "padding": 1}
        conv = Conv(1, 2, 4, **options, key=jax.random.key(0))
        back = ConvTranspose(1, 4, 2, **options, output_padding=1, key=jax.random.key(1))
        signal = jnp.ones((2, 16))
        assert back(conv(signal)).shape == signal.shape
        ```
    """

    output_padding: tuple[int, ...] = field(static=True)
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
        output_padding: int | Sequence[int] = 0,
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
        layer, ndim = type(self).__name__, self.num_spatial_dims
        self.output_padding = per_dimension(layer, "output_padding", output_padding, ndim, least=0)
        if any(o >= s for o, s in zip(self.output_padding, self.stride, strict=True)):
            raise ValueError(
                f"`{layer}`: `output_padding` (={self.output_padding}) must be less than `stride` "
                f"(={self.stride}) in each dimension."
            )
        self._check_mode()

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Maps one example.

        **Arguments:**

        - `x`: of shape `(in_channels, dim_1, ..., dim_N)`, of the dtype of the parameters.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(out_channels, new_dim_1, ..., new_dim_N)`.

        **Raises:** `ShapeError` for an `x` with other channels or another number of dimensions, or
        so small that nothing is left; `TypeError` for one of another dtype.
        """
        x = self._checked(x)
        pads = self._pads(x.shape)
        if self.padding_mode == "CIRCULAR":
            x, pads = self._wrap(x, pads)
        y = convolve(
            x,
            self.weight,
            strides=(1,) * self.num_spatial_dims,
            padding=pads,
            lhs_dilation=self.stride,
            rhs_dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias

    def _check_mode(self) -> None:
        mode = self.padding_mode
        if mode in ("REFLECT", "REPLICATE"):
            raise NotImplementedError(f"`{type(self).__name__}` has no `padding_mode={mode!r}`.")
        is_same = self.padding in ("SAME", "SAME_LOWER")
        if mode == "CIRCULAR" and (not is_same or any(self.output_padding)):
            raise NotImplementedError(
                f"`{type(self).__name__}`: `padding_mode='CIRCULAR'` works with `padding='SAME'` "
                f"or 'SAME_LOWER', and without `output_padding`."
            )

    def _pads(self, received: tuple[int, ...]) -> list[tuple[int, int]]:
        """What to pad on both sides of the input, once zeros are put between its elements."""
        pads: list[tuple[int, int]] = []
        for i, dim in enumerate(received[1:]):
            stride, more = self.stride[i], self.output_padding[i]
            reach = self.dilation[i] * (self.kernel_size[i] - 1)
            spread = (dim - 1) * stride + 1
            if self.padding in ("SAME", "SAME_LOWER"):
                new = dim * stride - more
                (before, _), *_ = lax.padtype_to_pads((new,), (reach + 1,), (stride,), self.padding)
            else:
                before, after = (0, 0) if self.padding == "VALID" else self.padding[i]
                new = spread + reach - before - after + more
            if new < 0 or (dim > 0 and new == 0):
                expected = f"dim_{i + 1} (larger: {dim} becomes {new})"
                refuse_shape(self, (f"in_channels={received[0]}", "...", expected), received)
            first = reach - before
            pads.append((first, new - spread + reach - first))
        return pads

    def _wrap(self, x: Array, pads: list[tuple[int, int]]) -> tuple[Array, list[tuple[int, int]]]:
        """Enough of the other side on each, and the pads that are left (negative: cut off)."""
        wraps = [
            tuple(max(-(-pad // stride), 0) for pad in pair)
            for pair, stride in zip(pads, self.stride, strict=True)
        ]
        left = [
            (before - w0 * stride, after - w1 * stride)
            for (before, after), (w0, w1), stride in zip(pads, wraps, self.stride, strict=True)
        ]
        return jnp.pad(x, ((0, 0), *wraps), mode="wrap"), left


class _ConvTransposeNd(ConvTranspose):
    """`ConvTranspose` with the number of spatial dimensions fixed by the class."""

    _ndim: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        output_padding: int | Sequence[int] = 0,
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
            output_padding,
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
            specialise(cls, cls._ndim, formula=ConvTranspose, sections=ConvTranspose, tuples=True)


@public
class ConvTranspose1d(_ConvTransposeNd, init=False):
    """A one-dimensional transposed convolution: over a signal `(in_channels, length)`.

    It is `ConvTranspose` with `num_spatial_dims=1`. Mind the order of its arguments:
    `output_padding` comes before `padding`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import ConvTranspose1d

        up = ConvTranspose1d(2, 3, kernel_size=4, stride=2, padding=1, key=jax.random.key(0))
        assert up(jnp.ones((2, 8))).shape == (3, 16)
        ```
    """

    _ndim: ClassVar[int] = 1


@public
class ConvTranspose2d(_ConvTransposeNd, init=False):
    """A two-dimensional transposed convolution: over an image `(in_channels, height, width)`.

    It is `ConvTranspose` with `num_spatial_dims=2`. Mind the order of its arguments:
    `output_padding` comes before `padding`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import ConvTranspose2d

        up = ConvTranspose2d(2, 3, kernel_size=4, stride=2, padding=1, key=jax.random.key(0))
        assert up(jnp.ones((2, 8, 8))).shape == (3, 16, 16)
        ```
    """

    _ndim: ClassVar[int] = 2


@public
class ConvTranspose3d(_ConvTransposeNd, init=False):
    """A three-dimensional transposed convolution: over a `(in_channels, depth, height, width)`.

    It is `ConvTranspose` with `num_spatial_dims=3`. Mind the order of its arguments:
    `output_padding` comes before `padding`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import ConvTranspose3d

        up = ConvTranspose3d(2, 3, kernel_size=4, stride=2, padding=1, key=jax.random.key(0))
        assert up(jnp.ones((2, 4, 4, 4))).shape == (3, 8, 8, 8)
        ```
    """

    _ndim: ClassVar[int] = 3
