"""Pooling to a given shape."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import ONE_CHANNEL, refuse_shape, shape_of
from pytree_module import Module, field
from tree_surgery.extend import public

from .fixed_dimensions import specialise
from .padding import per_dimension


@public
class AdaptivePool(Module):
    r"""Reduces an array to a given shape, whatever its own, channel by channel.

    Each spatial dimension is cut into as many windows as the target has entries, which do not
    overlap and differ in size by one at most, the larger ones first: of size $n$ into $k$, the
    first $n \bmod k$ have $\lceil n/k \rceil$ elements, the others $\lfloor n/k \rfloor$. (The
    windows of PyTorch overlap instead where $k$ does not divide $n$.) Each window is reduced by one
    call of the operation, which sees all its elements as a vector.

    **Shapes:** the input is `(channels, dim_1, ..., dim_N)`, with no dimension smaller than its
    target; the output is `(channels, *target_shape)`.

    **Arguments:**

    - `target_shape`: an integer for all spatial dimensions, or a sequence of one each.
    - `num_spatial_dims`: how many spatial dimensions the input has.
    - `operation`: a function of a vector that returns a scalar, such as `jax.numpy.mean`.

    **Raises:** `ValueError` for a target that is none.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptivePool

        pool = AdaptivePool(target_shape=2, num_spatial_dims=1, operation=jnp.mean)
        assert jnp.all(pool(jnp.array([[1.0, 3.0, 5.0, 7.0]])) == jnp.array([[2.0, 6.0]]))
        ```
    """

    target_shape: tuple[int, ...] = field(static=True)
    operation: Callable[[Array], Array]

    def __init__(
        self,
        target_shape: int | Sequence[int],
        num_spatial_dims: int,
        operation: Callable[[Array], Array],
    ):
        name = type(self).__name__
        self.target_shape = per_dimension(name, "target_shape", target_shape, num_spatial_dims)
        self.operation = operation

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Pools one example.

        **Arguments:**

        - `x`: of shape `(channels, dim_1, ..., dim_N)`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(channels, *target_shape)`.

        **Raises:** `ShapeError` for an `x` with another number of dimensions, or one that is
        smaller than its target.
        """
        received = shape_of(self, x)
        target = self.target_shape
        if len(received) != len(target) + 1 or any(
            n < k for n, k in zip(received[1:], target, strict=True)
        ):
            dims = [f"dim_{i + 1} >= {k}" for i, k in enumerate(target)]
            fix = ONE_CHANNEL if len(received) == len(target) else ""
            refuse_shape(self, ("channels", *dims), received, fix)
        x = jnp.asarray(x)
        return self._blocks(x, ())

    def _blocks(self, x: Array, counts: tuple[int, ...]) -> Array:
        """Splits larger from smaller windows, axis by axis, until all windows are alike."""
        axis = len(counts) + 1
        if axis > len(self.target_shape):
            return self._windows(x, counts)
        k = self.target_shape[axis - 1]
        small, rest = divmod(x.shape[axis], k)
        if rest == 0:
            return self._blocks(x, (*counts, k))
        first, second = jnp.split(x, [rest * (small + 1)], axis=axis)
        parts = self._blocks(first, (*counts, rest)), self._blocks(second, (*counts, k - rest))
        return jnp.concatenate(parts, axis=axis)

    def _windows(self, x: Array, counts: tuple[int, ...]) -> Array:
        """Reduces windows of one size, `counts` of them along each axis, each as a vector."""
        ndim = len(counts)
        for axis, k in enumerate(counts):  # one at a time: explicit axes allow no more
            at = 2 * axis + 1
            x = x.reshape(*x.shape[:at], k, x.shape[at] // k, *x.shape[at + 1 :])
        inner = range(2, 2 * ndim + 1, 2)
        x = x.transpose(0, *range(1, 2 * ndim, 2), *inner)
        length = math.prod(x.shape[ndim + 1 :])
        pool = self.operation
        for _ in range(ndim + 1):
            pool = jax.vmap(pool)
        return pool(x.reshape(*x.shape[: ndim + 1], length))


class _Fixed(AdaptivePool):
    """`AdaptivePool` with dimensions and operation fixed by the class."""

    _ndim: ClassVar[int]
    _operation: ClassVar[Any]

    def __init__(self, target_shape: int | Sequence[int]):
        super().__init__(target_shape, self._ndim, type(self)._operation)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "_ndim" in vars(cls):
            specialise(cls, cls._ndim, formula=AdaptivePool, sections=AdaptivePool)


@public
class AdaptiveAvgPool1d(_Fixed, init=False):
    """The mean of each window, over one spatial dimension, for a given shape of the output.

    Takes a signal `(channels, length)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveAvgPool1d

        assert jnp.all(AdaptiveAvgPool1d(3)(jnp.ones((2, 7))) == jnp.ones((2, 3)))
        ```
    """

    _ndim: ClassVar[int] = 1
    _operation: ClassVar[Any] = staticmethod(jnp.mean)


@public
class AdaptiveAvgPool2d(_Fixed, init=False):
    """The mean of each window, over two spatial dimensions, for a given shape of the output.

    Takes an image `(channels, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveAvgPool2d

        assert jnp.all(AdaptiveAvgPool2d(3)(jnp.ones((2, 7, 8))) == jnp.ones((2, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 2
    _operation: ClassVar[Any] = staticmethod(jnp.mean)


@public
class AdaptiveAvgPool3d(_Fixed, init=False):
    """The mean of each window, over three spatial dimensions, for a given shape of the output.

    Takes a `(channels, depth, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveAvgPool3d

        assert jnp.all(AdaptiveAvgPool3d(3)(jnp.ones((2, 7, 8, 9))) == jnp.ones((2, 3, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 3
    _operation: ClassVar[Any] = staticmethod(jnp.mean)


@public
class AdaptiveMaxPool1d(_Fixed, init=False):
    """The maximum of each window, over one spatial dimension, for a given shape of the output.

    Takes a signal `(channels, length)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveMaxPool1d

        assert jnp.all(AdaptiveMaxPool1d(3)(jnp.ones((2, 7))) == jnp.ones((2, 3)))
        ```
    """

    _ndim: ClassVar[int] = 1
    _operation: ClassVar[Any] = staticmethod(jnp.max)


@public
class AdaptiveMaxPool2d(_Fixed, init=False):
    """The maximum of each window, over two spatial dimensions, for a given shape of the output.

    Takes an image `(channels, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveMaxPool2d

        assert jnp.all(AdaptiveMaxPool2d(3)(jnp.ones((2, 7, 8))) == jnp.ones((2, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 2
    _operation: ClassVar[Any] = staticmethod(jnp.max)


@public
class AdaptiveMaxPool3d(_Fixed, init=False):
    """The maximum of each window, over three spatial dimensions, for a given shape of the output.

    Takes a `(channels, depth, height, width)`.

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import AdaptiveMaxPool3d

        assert jnp.all(AdaptiveMaxPool3d(3)(jnp.ones((2, 7, 8, 9))) == jnp.ones((2, 3, 3, 3)))
        ```
    """

    _ndim: ClassVar[int] = 3
    _operation: ClassVar[Any] = staticmethod(jnp.max)
