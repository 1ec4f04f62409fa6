"""Pooling."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import ONE_CHANNEL, refuse_shape, shape_of, size
from nn_layers._types import Sides
from pytree_module import Module, field
from tree_surgery.extend import public

from .fixed_dimensions import specialise
from .padding import check_reach, padding_pairs, per_dimension


@public
class Pool(Module):
    r"""Reduces each window of an array with a binary operation, channel by channel.

    $$y_{c,t} = \bigoplus_{s} \tilde x_{c,\ t \cdot \texttt{stride} + s}$$
    where $\oplus$ is the operation, $\tilde x$ the input padded with `init`, and $s$ runs over the
    window.

    **Shapes:** the input is `(channels, dim_1, ..., dim_N)` and the output
    `(channels, new_dim_1, ..., new_dim_N)`, without a batch axis, with
    `new_dim = (dim + before + after - kernel_size) / stride + 1`, rounded down, or up with
    `use_ceil`.

    **Arguments:**

    - `init`: the value that leaves the operation unchanged, such as 0 for a sum. It is padded with,
        and every window begins with it.
    - `operation`: an associative function of two arrays, such as `jax.lax.add`. JAX differentiates
        `jax.lax.add`, `jax.lax.max` and `jax.lax.min` with their own `init` (0, `-inf`, `inf`).
    - `num_spatial_dims`: how many spatial dimensions the input has.
    - `kernel_size`, `stride`: an integer for all spatial dimensions, or a sequence of one each.
    - `padding`: an integer for all sides; or a sequence with, for each spatial dimension, an
        integer or a pair `(before, after)`.
    - `use_ceil`: pads on after the end, so that a last window that is cut off counts too, if it
        begins in the input, or in what is padded before it.

    **Raises:** `ValueError` naming the argument that is none.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Pool

        pool = Pool(init=0, operation=jax.lax.add, num_spatial_dims=1, kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.array([[1.0, 2.0, 3.0, 4.0]])) == jnp.array([[3.0, 7.0]]))
        ```
    """

    init: int | float | Array
    operation: Callable[[Array, Array], Array]
    num_spatial_dims: int = field(static=True)
    kernel_size: tuple[int, ...] = field(static=True)
    stride: tuple[int, ...] = field(static=True)
    padding: tuple[tuple[int, int], ...] = field(static=True)
    use_ceil: bool = field(static=True)
    # On a CPU XLA is twice as quick to add along the last axis, but not to compare.
    _channels_last: ClassVar[bool] = False

    def __init__(
        self,
        init: int | float | Array,
        operation: Callable[[Array, Array], Array],
        num_spatial_dims: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Sides = 0,
        use_ceil: bool = False,
    ):
        layer = type(self).__name__
        self.init = init
        self.operation = operation
        self.num_spatial_dims = ndim = size(layer, "num_spatial_dims", num_spatial_dims)
        self.kernel_size = per_dimension(layer, "kernel_size", kernel_size, ndim)
        self.stride = per_dimension(layer, "stride", stride, ndim)
        self.padding = padding_pairs(layer, padding, ndim)
        self.use_ceil = use_ceil

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Pools one example.

        **Arguments:**

        - `x`: of shape `(channels, dim_1, ..., dim_N)`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(channels, new_dim_1, ..., new_dim_N)`.

        **Raises:** `ShapeError` for an `x` with another number of dimensions, or smaller than the
        window; `RuntimeError` if the padding is larger than the window, so that windows would hold
        padding alone.
        """
        received = shape_of(self, x)
        if len(received) != self.num_spatial_dims + 1:
            dims = [f"dim_{i + 1}" for i in range(self.num_spatial_dims)]
            fix = ONE_CHANNEL if len(received) == self.num_spatial_dims else ""
            refuse_shape(self, ("channels", *dims), received, fix)
        for pair, kernel in zip(self.padding, self.kernel_size, strict=True):
            if max(pair) > kernel:
                raise RuntimeError(
                    f"`{type(self).__name__}`: a padding of {pair} is larger than the window of "
                    f"size {kernel}: some windows would hold nothing but padding. Paddings should "
                    f"be less than the size of the kernel."
                )
        padding = self._up(received[1:]) if self.use_ceil else self.padding
        check_reach(self, "channels", received, padding, self.kernel_size)
        if not self._channels_last:
            return self._reduced(x, (1, *self.kernel_size), (1, *self.stride), [(0, 0), *padding])
        x = jnp.moveaxis(x, 0, -1)
        x = self._reduced(x, (*self.kernel_size, 1), (*self.stride, 1), [*padding, (0, 0)])
        return jnp.moveaxis(x, -1, 0)

    def _reduced(self, x: Array, window: Any, strides: Any, padding: Any) -> Array:
        return lax.reduce_window(x, self.init, self.operation, window, strides, padding)

    def _up(self, dims: Sequence[int]) -> list[tuple[int, int]]:
        """The padding that rounds the size of the output up."""
        pairs: list[tuple[int, int]] = []
        for dim, kernel, stride, (before, after) in zip(
            dims, self.kernel_size, self.stride, self.padding, strict=True
        ):
            length = before + dim + after
            last = max(-(-(length - kernel) // stride), 0) * stride  # where the last window begins
            extra = last + kernel - length
            begins_inside = last < before + dim  # else it would hold nothing but padding
            pairs.append((before, after + extra) if begins_inside else (before, after))
        return pairs


class _PoolNd(Pool):
    """`Pool` with operation and number of spatial dimensions fixed by the class."""

    _ndim: ClassVar[int]
    _of: ClassVar[tuple[Any, Any]]  # `init` and `operation`

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Sides = 0,
        use_ceil: bool = False,
    ):
        super().__init__(*self._of, self._ndim, kernel_size, stride, padding, use_ceil)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "_ndim" in vars(cls):
            specialise(cls, cls._ndim, formula=cls.__bases__[0], sections=Pool)


class _AvgPool(_PoolNd, init=False):
    r"""`Pool` that takes the mean.

    $$y_{c,t} = \frac{1}{\prod \texttt{kernel\_size}} \sum_{s}
    \tilde x_{c,\ t \cdot \texttt{stride} + s}$$
    where $\tilde x$ is the input padded with zeros and $s$ runs over the window. What is padded
    counts, as does what a window cut off by `use_ceil` lacks: each sum is divided by the size of
    the window.

    **Shapes:** those of `Pool`.
    """

    _of: ClassVar[tuple[Any, Any]] = (0, lax.add)
    _channels_last: ClassVar[bool] = True

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """As `Pool.__call__`.

        The mean of integers is floating point; sums are computed in float32 or better.
        """
        dtype = getattr(x, "dtype", jnp.float32)
        narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
        # A sum in half precision would stop growing, or be infinite.
        y = super().__call__(x.astype(jnp.float32) if narrow else x) / math.prod(self.kernel_size)
        return y.astype(dtype) if narrow else y


class _MaxPool(_PoolNd, init=False):
    r"""`Pool` that takes the maximum.

    $$y_{c,t} = \max_{s} \tilde x_{c,\ t \cdot \texttt{stride} + s}$$
    where $\tilde x$ is the input padded with minus infinity, which is never the maximum, and $s$
    runs over the window.

    **Shapes:** those of `Pool`.
    """

    _of: ClassVar[tuple[Any, Any]] = (-jnp.inf, lax.max)


@public
class AvgPool1d(_AvgPool, init=False):
    """The mean of each window, over one spatial dimension.

    Takes a signal of shape `(channels, length)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AvgPool1d

        pool = AvgPool1d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6))) == jnp.ones((2, 3)))
        ```
    """

    _ndim: ClassVar[int] = 1


@public
class AvgPool2d(_AvgPool, init=False):
    """The mean of each window, over two spatial dimensions.

    Takes an image of shape `(channels, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AvgPool2d

        pool = AvgPool2d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6, 6))) == jnp.ones((2, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 2


@public
class AvgPool3d(_AvgPool, init=False):
    """The mean of each window, over three spatial dimensions.

    Takes a volume of shape `(channels, depth, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AvgPool3d

        pool = AvgPool3d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6, 6, 6))) == jnp.ones((2, 3, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 3


@public
class MaxPool1d(_MaxPool, init=False):
    """The maximum of each window, over one spatial dimension.

    Takes a signal of shape `(channels, length)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import MaxPool1d

        pool = MaxPool1d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6))) == jnp.ones((2, 3)))
        ```
    """

    _ndim: ClassVar[int] = 1


@public
class MaxPool2d(_MaxPool, init=False):
    """The maximum of each window, over two spatial dimensions.

    Takes an image of shape `(channels, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import MaxPool2d

        pool = MaxPool2d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6, 6))) == jnp.ones((2, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 2


@public
class MaxPool3d(_MaxPool, init=False):
    """The maximum of each window, over three spatial dimensions.

    Takes a volume of shape `(channels, depth, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import MaxPool3d

        pool = MaxPool3d(kernel_size=2, stride=2)
        assert jnp.all(pool(jnp.ones((2, 6, 6, 6))) == jnp.ones((2, 3, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 3
