"""An input that is smaller than the kernel, once padded, is refused."""

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from nn_layers import (
    AvgPool1d,
    Conv1d,
    Conv2d,
    MaxPool2d,
    Pool,
    ShapeError,
)

KEY = jr.key(0)


def small():
    conv = Conv2d(1, 2, (3, 2), padding=((0, 1), (0, 0)), dilation=(2, 1), key=KEY)
    yield conv, (1, 3, 5), r"in_channels=1, dim_1 >= 4, dim_2 >= 2\).*size \(4, 5\).*\(5, 2\)"
    valid = Conv1d(1, 2, 3, padding="VALID", key=KEY)
    yield valid, (1, 2), r"dim_1 >= 3\)"
    wrapped = Conv1d(1, 2, 5, padding=1, padding_mode="CIRCULAR", key=KEY)
    yield wrapped, (1, 2), r"dim_1 >= 3\)"
    yield MaxPool2d(4), (1, 4, 3), r"channels, dim_1 >= 4, dim_2 >= 4\)"
    yield AvgPool1d(4, padding=1), (2, 1), r"channels, dim_1 >= 2\)"
    yield Pool(0, jax.lax.add, 1, 3), (1, 2), r"`Pool`.*dim_1 >= 3\)"


@pytest.mark.parametrize("case", list(small()), ids=lambda case: type(case[0]).__name__)
def test_an_image_that_is_smaller_than_the_kernel(case):
    layer, shape, text = case
    for call in (layer, jax.jit(lambda x: layer(x)), jax.vmap(layer, axis_size=2, in_axes=None)):
        with pytest.raises(ShapeError, match=text) as error:
            call(jnp.ones(shape))
        assert error.value.received == shape
    if getattr(layer, "padding_mode", "ZEROS") != "ZEROS":
        return  # of nothing there is no other side
    # Nothing is expected of nothing.
    empty = layer(jnp.ones((shape[0], *[0] * (len(shape) - 1))))
    assert empty.size == 0 and empty.ndim == len(shape)


def test_large_enough_by_padding():
    x = jnp.ones((1, 2))
    for padding in (1, "SAME"):
        assert Conv1d(1, 2, 3, padding=padding, key=KEY)(x).shape == (2, 2)
    assert AvgPool1d(4, use_ceil=True)(x).shape == (1, 1)
