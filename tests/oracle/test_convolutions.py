"""Convolutions and their transposes, over a grid of options."""

import itertools
import math

import jax.random as jr
import pytest
import torch
import torch.nn.functional as F

import nn_layers as nn

KEY = jr.PRNGKey(0)
MODES = {
    "ZEROS": "constant",
    "REFLECT": "reflect",
    "REPLICATE": "replicate",
    "CIRCULAR": "circular",
}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
BACK = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def pads_of(padding, sizes, kernel, stride, dilation):
    """A pair for each dimension. PyTorch knows "SAME" for stride 1 only: here is its definition."""
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    if padding in ("SAME", "SAME_LOWER"):
        pads = []
        for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
            total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if padding == "SAME" else (more, less))
        return pads
    return padding


def convolution(layer):
    def call(own, x):
        pads = pads_of(layer.padding, x.shape[1:], layer.kernel_size, layer.stride, layer.dilation)
        flat = [p for pair in reversed(pads) for p in pair]  # PyTorch begins with the last axis
        x = F.pad(x[None], flat, mode=MODES[layer.padding_mode])
        bias = own[".bias"].flatten() if ".bias" in own else None
        conv = CONV[layer.num_spatial_dims]
        y = conv(
            x,
            own[".weight"],
            bias,
            layer.stride,
            dilation=layer.dilation,
            groups=layer.groups,
        )
        return y[0]

    return call


def transposed(layer):
    """The conversion that the documentation gives: swap the channels, flip the kernel."""

    def call(own, x):
        ndim, groups, padding = layer.num_spatial_dims, layer.groups, layer.padding
        out, into, kernel = layer.out_channels, layer.in_channels, layer.kernel_size
        weight = own[".weight"].reshape(groups, out // groups, into // groups, *kernel)
        weight = weight.swapaxes(1, 2).reshape(into, out // groups, *kernel)
        weight = weight.flip(tuple(range(2, 2 + ndim)))
        back, options = BACK[ndim], {"dilation": layer.dilation, "groups": groups}
        bias = own[".bias"].flatten() if ".bias" in own else None
        both_alike = not isinstance(padding, str) and all(a == b for a, b in padding)
        if both_alike:
            pads, more = [a for a, _ in padding], layer.output_padding
            return back(x[None], weight, bias, layer.stride, pads, more, **options)[0]
        # PyTorch pads both sides alike. Otherwise: cut off what the convolution would have padded.
        y = back(x[None], weight, bias, layer.stride, **options)[0]
        for i, n in enumerate(x.shape[1:]):
            stride, more = layer.stride[i], layer.output_padding[i]
            if padding in ("SAME", "SAME_LOWER"):
                new = n * stride - more
                dims = (layer.kernel_size[i],), (stride,), (layer.dilation[i],)
                ((before, _),) = pads_of(padding, (new,), *dims)
            else:
                before, after = (0, 0) if padding == "VALID" else padding[i]
                new = y.shape[i + 1] - before - after + more
            pad = [0, 0] * (ndim - 1 - i) + [0, max(before + new - y.shape[i + 1], 0)]
            bias_value = 0.0 if bias is None else bias.reshape(-1, *(1,) * ndim)
            y = F.pad(y - bias_value, pad).narrow(i + 1, before, new) + bias_value
        return y

    return call


ONE = list(
    itertools.product(
        ["VALID", "SAME", "SAME_LOWER", 0, 2, ((0, 3),), ((2, 1),)],
        MODES,
        [1, 2, 3],  # stride
        [1, 2],  # dilation
        [(3, 7, 1), (2, 6, 2), (4, 9, 2)],  # kernel, size, groups
    )
)


# https://github.com/patrick-kidger/equinox/issues/658
# https://github.com/patrick-kidger/equinox/issues/661
@pytest.mark.parametrize(("padding", "mode", "stride", "dilation", "rest"), ONE[::2])
def test_conv1d(agrees, draw, padding, mode, stride, dilation, rest):
    kernel, size, groups = rest
    options = {"padding_mode": mode, "dtype": "float64", "key": KEY}
    layer = nn.Conv1d(2, 4, kernel, stride, padding, dilation, groups, **options)
    agrees(layer, convolution(layer), draw(2, size))


MORE = list(
    itertools.product(
        ["VALID", "SAME", "SAME_LOWER", 1, "pairs"],
        MODES,
        [1, "mixed"],  # stride
        [1, "mixed"],  # dilation
        [True, False],  # bias
    )
)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("padding", "mode", "stride", "dilation", "bias"), MORE[::3])
def test_conv2d_and_conv3d(agrees, draw, ndim, padding, mode, stride, dilation, bias):
    mixed = {"stride": (2, 1, 3)[:ndim], "dilation": (1, 2, 1)[:ndim]}
    stride = mixed["stride"] if stride == "mixed" else stride
    dilation = mixed["dilation"] if dilation == "mixed" else dilation
    padding = ((1, 2), (2, 0), (0, 1))[:ndim] if padding == "pairs" else padding
    layer = nn.Conv(
        ndim,
        4,
        2,
        (3, 2, 2)[:ndim],
        stride,
        padding,
        dilation,
        groups=2,
        use_bias=bias,
        padding_mode=mode,
        dtype="float64",
        key=KEY,
    )
    agrees(layer, convolution(layer), draw(4, *(5, 6, 4)[:ndim]))


DTYPES = ["float32", "float16", "bfloat16", "complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_dtypes(agrees, draw, dtype, mode):
    options = {"padding": 1, "padding_mode": mode, "groups": 2, "dtype": dtype, "key": KEY}
    layer = nn.Conv2d(2, 4, 3, **options)
    agrees(layer, convolution(layer), draw(2, 4, 5, dtype=dtype))


# https://github.com/patrick-kidger/equinox/issues/970
@pytest.mark.parametrize("groups", [3, 6])
def test_depthwise(agrees, draw, groups):
    layer = nn.Conv2d(6, 12, 3, padding=1, groups=groups, dtype="float64", key=KEY)
    agrees(layer, convolution(layer), draw(6, 5, 7))


BACK_GRID = [
    case
    for case in itertools.product(
        ["VALID", "SAME", "SAME_LOWER", 0, 1, 2, ((0, 1),), ((2, 1),)],
        [1, 2, 3],  # stride
        [0, 1, 2],  # output padding
        [1, 2],  # dilation
        [(3, 1), (2, 2), (5, 1)],  # kernel, groups
    )
    if case[2] < case[1]
]


# https://github.com/patrick-kidger/equinox/pull/132
# https://github.com/patrick-kidger/equinox/commit/7ffcfba
@pytest.mark.parametrize(("padding", "stride", "more", "dilation", "rest"), BACK_GRID[::2])
def test_conv_transpose1d(agrees, draw, padding, stride, more, dilation, rest):
    kernel, groups = rest
    layer = nn.ConvTranspose1d(
        2, 4, kernel, stride, more, padding, dilation, groups, dtype="float64", key=KEY
    )
    agrees(layer, transposed(layer), draw(2, 7))


# https://github.com/patrick-kidger/equinox/issues/884
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(16, 8, 4), (8, 8, 0), (9, 8, 4)])
def test_conv_transpose1d_with_a_long_stride(agrees, draw, kernel, stride, padding):
    layer = nn.ConvTranspose1d(3, 2, kernel, stride, padding=padding, dtype="float64", key=KEY)
    agrees(layer, transposed(layer), draw(3, 5))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("padding", [0, 1, "SAME", "SAME_LOWER", "VALID", "pairs"])
@pytest.mark.parametrize("bias", [True, False])
def test_conv_transpose2d_and_3d(agrees, draw, ndim, padding, bias):
    padding = ((1, 0), (0, 1), (1, 2))[:ndim] if padding == "pairs" else padding
    own = {"stride": (2, 1, 3)[:ndim], "dilation": (1, 2, 1)[:ndim], "groups": 2}
    layer = nn.ConvTranspose(
        ndim,
        4,
        2,
        (3, 2, 4)[:ndim],
        padding=padding,
        use_bias=bias,
        dtype="float64",
        key=KEY,
        **own,
    )
    agrees(layer, transposed(layer), draw(4, *(3, 4, 3)[:ndim]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_conv_transpose(agrees, draw, dtype):
    layer = nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2, dtype=dtype, key=KEY)
    agrees(layer, transposed(layer), draw(2, 3, 4, dtype=dtype))


@pytest.mark.parametrize("make", [nn.Conv1d, nn.ConvTranspose1d])
def test_nothing_comes_in_or_out(agrees, draw, make):
    reference = convolution if make is nn.Conv1d else transposed
    layer = make(2, 3, 2, dtype="float64", key=KEY)
    if make is nn.Conv1d:  # a kernel longer than the signal
        with pytest.raises(nn.ShapeError, match="nothing is left"):
            layer(draw(2, 1))
    for channels in ((2, 0), (0, 3)):
        layer = make(*channels, 2, dtype="float64", key=KEY)
        y = layer(draw(channels[0], 5))
        assert y.shape[0] == channels[1]
        if channels[1]:
            assert torch.allclose(
                torch.tensor(layer.bias.tolist()).expand(y.shape), torch.tensor(y.tolist())
            )
    layer = make(2, 4, 1, dtype="float64", key=KEY)
    agrees(layer, reference(layer), draw(2, 1))
