"""`Conv` against loops in NumPy, over strides, paddings, modes, dilations and groups."""

import itertools
import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import Conv, Conv1d, Conv2d, Conv3d, ShapeError

pytestmark = pytest.mark.heavy

KEY = jr.PRNGKey(1)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


MODES = {"ZEROS": "constant", "REFLECT": "reflect", "REPLICATE": "edge", "CIRCULAR": "wrap"}


def pads_of(padding, dims, kernel, stride, dilation):
    """What a padding means, by the definition: SAME makes the output `ceil(dim / stride)` long."""
    if padding == "VALID":
        return [(0, 0)] * len(dims)
    if padding in ("SAME", "SAME_LOWER"):
        pads = []
        for dim, k, s, d in zip(dims, kernel, stride, dilation, strict=True):
            total = max((math.ceil(dim / s) - 1) * s + (k - 1) * d + 1 - dim, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if padding == "SAME" else (more, less))
        return pads
    return padding


def reference(x, weight, bias, stride, padding, dilation, groups, mode):
    """A convolution, one output element at a time."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    out_channels, grouped, *kernel = weight.shape
    pads = pads_of(padding, x.shape[1:], kernel, stride, dilation)
    x = np.pad(x, [(0, 0), *pads], mode=MODES[mode])
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    sizes = [
        max((dim - r) // s + 1, 0) for dim, r, s in zip(x.shape[1:], reach, stride, strict=True)
    ]
    y = np.zeros((out_channels, *sizes))
    for channel in range(out_channels):
        first = channel // (out_channels // groups) * grouped
        for place in np.ndindex(*sizes):
            window = tuple(
                slice(p * s, p * s + r, d)
                for p, s, r, d in zip(place, stride, reach, dilation, strict=True)
            )
            seen = x[(slice(first, first + grouped), *window)]
            y[(channel, *place)] = (seen * weight[channel]).sum()
    return y if bias is None else y + np.asarray(bias, np.float64)


# https://github.com/patrick-kidger/equinox/issues/658
# https://github.com/patrick-kidger/equinox/issues/661
# https://github.com/patrick-kidger/equinox/commit/590c88b
GRID = list(
    itertools.product(
        ["VALID", "SAME", "SAME_LOWER", ((0, 0),), ((2, 2),), ((0, 3),)], MODES, [1, 2, 3], [1, 2]
    )
)


@pytest.mark.parametrize(("padding", "mode", "stride", "dilation"), GRID[::11])
def test_one_dimension(padding, mode, stride, dilation):
    for kernel, size, groups in ((3, 7, 1), (2, 6, 2), (4, 8, 2)):
        conv = Conv1d(2, 4, kernel, stride, padding, dilation, groups, padding_mode=mode, key=KEY)
        x = normal((2, size))
        expected = reference(
            x, conv.weight, conv.bias, (stride,), padding, (dilation,), groups, mode
        )
        y = conv(x)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
        if padding in ("SAME", "SAME_LOWER"):
            assert y.shape[1] == math.ceil(size / stride)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", ["SAME", "SAME_LOWER", ((1, 2), (2, 0))])
def test_two_dimensions(mode, padding):
    conv = Conv2d(4, 2, (3, 2), (1, 2), padding, (2, 1), 2, padding_mode=mode, key=KEY)
    x = normal((4, 6, 7))
    expected = reference(x, conv.weight, conv.bias, (1, 2), padding, (2, 1), 2, mode)
    np.testing.assert_allclose(conv(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: conv(x))(x), expected, rtol=1e-4, atol=1e-5)
    batch = jnp.stack([x, 2 * x])
    np.testing.assert_allclose(jax.vmap(conv)(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_three_dimensions():
    conv = Conv3d(2, 3, 2, 2, padding=1, use_bias=False, key=KEY)
    assert conv.bias is None
    x = normal((2, 3, 4, 5))
    expected = reference(x, conv.weight, None, (2,) * 3, ((1, 1),) * 3, (1,) * 3, 1, "ZEROS")
    np.testing.assert_allclose(conv(x), expected, rtol=1e-4, atol=1e-5)


def test_gradients_against_differences():
    conv = Conv2d(2, 3, 2, 2, "SAME", padding_mode="REFLECT", key=KEY)
    x = normal((2, 5, 5))

    def loss(weight, x):
        args = (weight, conv.bias, (2, 2), "SAME", (1, 1), 1, "REFLECT")
        return np.sin(reference(x, *args)).sum()

    own, given = jax.grad(lambda c, x: jnp.sin(c(x)).sum(), argnums=(0, 1))(conv, x)
    for index, got in ((0, own.weight), (1, given)):
        point = [np.asarray(conv.weight, np.float64), np.asarray(x, np.float64)]
        direction = np.random.default_rng(0).normal(size=point[index].shape)
        values = []
        for step in (1e-4, -1e-4):
            moved = list(point)
            moved[index] = point[index] + step * direction
            values.append(loss(*moved))
        slope = (values[0] - values[1]) / 2e-4
        np.testing.assert_allclose(np.sum(np.asarray(got) * direction), slope, rtol=1e-3)


def test_initial_values():
    conv = Conv2d(4, 6, (3, 2), groups=2, key=KEY)
    weight_key, bias_key = jr.split(KEY)
    bound = 1 / math.sqrt(2 * 3 * 2)  # channels of a group, times the kernel
    np.testing.assert_array_equal(
        conv.weight, jr.uniform(weight_key, (6, 2, 3, 2), minval=-bound, maxval=bound)
    )
    np.testing.assert_array_equal(
        conv.bias, jr.uniform(bias_key, (6, 1, 1), minval=-bound, maxval=bound)
    )


def test_the_fields_are_in_their_full_form():
    conv = Conv2d(2, 4, 3, stride=[1, 2], padding=(1, (2, 3)), padding_mode="reflect", key=KEY)
    assert conv.kernel_size == (3, 3)
    assert conv.stride == (1, 2)
    assert conv.padding == ((1, 1), (2, 3))
    assert conv.dilation == (1, 1)
    assert conv.padding_mode == "REFLECT"
    assert Conv1d(2, 4, 3, padding="same", key=KEY).padding == "SAME"
    assert conv == Conv2d(2, 4, (3, 3), (1, 2), ((1, 1), (2, 3)), padding_mode="REFLECT", key=KEY)


@pytest.mark.parametrize(("cls", "ndim"), [(Conv1d, 1), (Conv2d, 2), (Conv3d, 3)])
def test_the_named_are_the_general(cls, ndim):
    named, general = cls(2, 3, 2, key=KEY), Conv(ndim, 2, 3, 2, key=KEY)
    assert isinstance(named, Conv)
    x = normal((2,) + (4,) * ndim)
    np.testing.assert_array_equal(named(x), general(x))
    leaves = jax.tree_util.tree_leaves(named), jax.tree_util.tree_leaves(general)
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


# https://github.com/patrick-kidger/equinox/commit/811c572
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64])
@pytest.mark.parametrize("mode", ["ZEROS", "CIRCULAR"])
def test_the_dtype_stays(dtype, mode):
    conv = Conv2d(2, 3, 3, padding=1, padding_mode=mode, dtype=dtype, key=KEY)
    assert conv.weight.dtype == conv.bias.dtype == dtype
    assert conv(jnp.ones((2, 4, 4), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"groups": 3}, r"`in_channels` \(=2\) must be divisible by `groups` \(=3\)"),
        ({"out_channels": 3, "groups": 2}, r"`out_channels` \(=3\) must be divisible"),
        ({"groups": 0}, "`groups` must be at least 1"),
        ({"kernel_size": (3, 3, 3)}, "`kernel_size`.*length of .3, 3, 3. is 3, not 2"),
        ({"kernel_size": 0}, "`kernel_size` must be at least 1"),
        ({"kernel_size": 3.0}, "`kernel_size` must be an integer"),
        ({"stride": 0}, "`stride` must be at least 1"),
        ({"dilation": (1,)}, "`dilation`"),
        ({"padding": "EVEN"}, "'SAME', 'SAME_LOWER' or 'VALID', got 'EVEN'"),
        ({"padding": (1, 1, 1)}, "`padding` must be an integer or a sequence of 2"),
        ({"padding": 1.5}, "`padding`"),
        ({"padding": -1, "padding_mode": "REFLECT"}, "no negative padding"),
        ({"padding_mode": "EVEN"}, "`padding_mode` must be.*got 'EVEN'"),
        ({"padding_mode": None}, "`padding_mode` must be"),
    ],
)
def test_arguments_that_are_none(kwargs, match):
    base = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "key": KEY}
    with pytest.raises(ValueError, match=match) as caught:
        Conv2d(**base | kwargs)
    assert "`Conv2d`" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((5, 2, 4, 4), r"jax.vmap(layer)(x)"),
        ((4, 4, 2), "moveaxis(x, -1, 0)"),
        ((3, 4, 4), ""),
        ((4, 4), ""),
    ],
)
def test_a_wrong_shape(shape, fix):
    conv = Conv2d(2, 3, 3, key=KEY)
    for call in (conv, jax.jit(lambda x: conv(x))):
        with pytest.raises(ShapeError) as caught:
            call(jnp.ones(shape))
        message = str(caught.value)
        assert "`Conv2d`" in message
        assert "(in_channels=2, dim_1, dim_2)" in message
        assert str(shape) in message
        assert fix in message


def test_an_image_without_its_channel():
    with pytest.raises(ShapeError, match=r"layer\(x\[None\]\)"):
        Conv2d(1, 3, 3, key=KEY)(jnp.ones((8, 8)))


def test_another_dtype_names_both():
    with pytest.raises(TypeError, match=r"`Conv1d`.*float32.*int32"):
        Conv1d(1, 1, 1, key=KEY)(jnp.ones((1, 3), jnp.int32))


# https://github.com/patrick-kidger/equinox/issues/970: XLA's speed on a CPU is said, not mended.
def test_depthwise():
    conv, x = Conv2d(3, 6, 3, padding=1, groups=3, key=KEY), normal((3, 4, 5))
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    weight = np.asarray(conv.weight).reshape(3, 2, 3, 3)
    expected = np.einsum("chwij,coij->cohw", windows, weight).reshape(6, 4, 5)
    np.testing.assert_allclose(conv(x), expected + np.asarray(conv.bias), rtol=1e-4, atol=1e-5)
    for make in (Conv, Conv1d, Conv2d, Conv3d):
        assert "slow code for CPUs: jax#23713" in make.__doc__


def test_nothing():
    assert Conv1d(2, 3, 3, key=KEY)(jnp.ones((2, 0))).shape == (3, 0)
    assert Conv1d(0, 3, 3, key=KEY)(jnp.ones((0, 5))).shape == (3, 3)
