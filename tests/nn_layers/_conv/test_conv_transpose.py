"""`ConvTranspose` is the transpose of `Conv`: what maps cotangents back."""

import inspect

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import nn_layers as nn
from nn_layers import Conv, ConvTranspose, ShapeError
from tree_surgery import tree_at

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(12)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def transpose_of_conv(layer, x, size):
    """The cotangent of a `Conv` with the kernel flipped and its channels swapped."""
    ndim, groups = layer.num_spatial_dims, layer.groups
    out, into = layer.out_channels, layer.in_channels
    kernel = layer.weight.reshape(groups, out // groups, into // groups, *layer.kernel_size)
    kernel = jnp.flip(jnp.swapaxes(kernel, 1, 2), tuple(range(3, 3 + ndim)))
    conv = Conv(
        ndim,
        out,
        into,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        groups,
        use_bias=False,
        padding_mode=layer.padding_mode,
        key=KEY,
    )
    kernel = kernel.reshape(conv.weight.shape)
    conv = jax.tree.unflatten(jax.tree.structure(conv), [kernel])
    y, back = jax.vjp(conv, jnp.zeros((out, *size)))
    assert y.shape == x.shape
    return back(x)[0] + layer.bias


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (9,)),
        ({"stride": 2, "padding": 1, "groups": 2}, (13,)),
        ({"stride": 2, "padding": 1, "output_padding": 1}, (14,)),
        ({"stride": 3, "dilation": 2, "padding": ((1, 2),), "output_padding": 2}, (22,)),
        ({"padding": "VALID", "stride": 2}, (15,)),
        ({"padding": "SAME", "stride": 2}, (14,)),
        ({"padding": "same", "stride": 2, "output_padding": 1}, (13,)),
        ({"padding": "SAME_LOWER", "stride": 3}, (21,)),
        # https://github.com/patrick-kidger/equinox/issues/884
        ({"kernel_size": 16, "stride": 8, "padding": 4}, (56,)),
        ({"padding": "SAME", "padding_mode": "CIRCULAR", "stride": 2}, (14,)),
        ({"padding": "SAME_LOWER", "padding_mode": "circular", "kernel_size": 4}, (7,)),
        ({"padding": "SAME", "padding_mode": "CIRCULAR", "dilation": 3}, (7,)),
    ],
)
def test_transposes_conv(options, size):
    layer = ConvTranspose(1, 2, 4, **{"kernel_size": 3, **options}, key=KEY)
    x = normal((2, 7))
    y = layer(x)
    assert y.shape == (4, *size)
    np.testing.assert_allclose(y, transpose_of_conv(layer, x, size), rtol=1e-4, atol=1e-5)


def test_transposes_conv_in_two_dimensions():
    options = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "output_padding": (1, 0)}
    layer = ConvTranspose(2, 2, 2, (3, 2), **options, key=KEY)
    x = normal((2, 3, 4))
    expected = transpose_of_conv(layer, x, (7, 3))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


# https://github.com/patrick-kidger/equinox/pull/132
# https://github.com/patrick-kidger/equinox/commit/7ffcfba
def test_pytorch_scatters_the_flipped_kernel():
    w, x = normal((2, 3, 4)), normal((2, 5))  # in PyTorch the channels of the input come first
    expected = np.zeros((3, 16))
    for t in range(5):
        expected[:, 3 * t : 3 * t + 4] += np.einsum("iok,i->ok", w, x[:, t])
    layer = ConvTranspose(1, 2, 3, 4, stride=3, use_bias=False, key=KEY)
    layer = tree_at(lambda n: n.weight, layer, jnp.flip(w.swapaxes(0, 1), (2,)))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    # It is the documented conversion.
    for make in (ConvTranspose, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d):
        assert "jax.numpy.flip(w.swapaxes(0, 1), (2, ...))" in make.__doc__


def test_initial_parameters():
    layer, conv = (make(2, 4, 6, 3, groups=2, key=KEY) for make in (ConvTranspose, Conv))
    np.testing.assert_array_equal(layer.weight, conv.weight)
    np.testing.assert_array_equal(layer.bias, conv.bias)
    half = nn.ConvTranspose1d(2, 3, 2, use_bias=False, dtype=jnp.float16, key=KEY)
    assert half.bias is None
    assert half(jnp.ones((2, 4), jnp.float16)).dtype == jnp.float16


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_one_two_and_three_dimensions(ndim):
    one = (lambda x: x) if ndim == 1 else (lambda x: (x,) * ndim)
    make = getattr(nn, f"ConvTranspose{ndim}d")
    parameters = inspect.signature(make).parameters
    names = ["stride", "output_padding", "padding", "dilation", "groups"]
    assert list(parameters)[3:8] == names
    assert [parameters[p].default for p in names] == [*map(one, (1, 0, 0, 1)), 1]
    layer = make(1, 2, 2, 2, 1, key=KEY)  # an output padding of 1
    assert (layer.output_padding, layer.padding) == ((1,) * ndim, ((0, 0),) * ndim)
    general = ConvTranspose(ndim, 1, 2, 2, 2, output_padding=1, key=KEY)
    x = normal((1,) + (3,) * ndim)
    np.testing.assert_array_equal(layer(x), general(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_padding": 1}, "must be less than `stride`"),
        ({"output_padding": -1, "stride": 2}, "`output_padding` must be at least 0"),
        ({"groups": 3}, "`in_channels`.*divisible by `groups`"),
        ({"padding": "ODD"}, "`padding` string"),
        ({"stride": 0}, "`stride` must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=f"`ConvTranspose1d`: .*{message}"):
        nn.ConvTranspose1d(2, 4, 3, **options, key=KEY)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": "VALID"}])
def test_padding_modes_that_do_not_exist(options):
    with pytest.raises(NotImplementedError, match="'CIRCULAR'` works with"):
        ConvTranspose(1, 2, 4, 3, padding_mode="CIRCULAR", **options, key=KEY)
    with pytest.raises(NotImplementedError, match="'REFLECT'"):
        ConvTranspose(1, 2, 4, 3, padding_mode="reflect", **options, key=KEY)


def test_shapes_that_do_not_fit():
    layer = nn.ConvTranspose1d(2, 3, 3, padding=3, key=KEY)
    for call in (layer, jax.jit(lambda x: layer(x))):
        with pytest.raises(ShapeError, match=r"\(in_channels=2, dim_1\).*\(3, 5\)"):
            call(jnp.ones((3, 5)))
        with pytest.raises(ShapeError, match=r"jax.vmap"):
            call(jnp.ones((7, 2, 5)))
        with pytest.raises(ShapeError, match="4 becomes 0"):
            call(jnp.ones((2, 4)))
    with pytest.raises(TypeError, match="dtype"):
        layer(jnp.ones((2, 5), jnp.float16))
