"""Pools, over a grid of windows, strides and paddings."""

import itertools
import math

import jax
import jax.numpy as jnp
import pytest
import torch
import torch.nn.functional as F

import nn_layers as nn

AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
ADAPTIVE = {
    "Avg": {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d},
    "Max": {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d},
}
SIZES = (6, 7, 5)

# PyTorch takes a padding of half the window at most.
# https://github.com/patrick-kidger/equinox/issues/176
GRID = [
    case
    for case in itertools.product(
        (1, 2, 3), ((1, 1, 1), (2, 2, 2), (3, 2, 4)), (1, 2, 3), (0, 1), (False, True)
    )
    if case[3] == 0 or min(case[1][: case[0]]) > 1
]


@pytest.mark.parametrize(("ndim", "kernel", "stride", "padding", "use_ceil"), GRID)
def test_max_pool(agrees, draw, ndim, kernel, stride, padding, use_ceil):
    kernel = kernel[:ndim]
    layer = getattr(nn, f"MaxPool{ndim}d")(kernel, stride, padding, use_ceil)

    def call(own, x):
        return MAX[ndim](x[None], kernel, stride, padding, ceil_mode=use_ceil)[0]

    agrees(layer, call, draw(2, *SIZES[:ndim]))


@pytest.mark.parametrize(("ndim", "kernel", "stride", "padding", "use_ceil"), GRID)
def test_avg_pool(agrees, draw, ndim, kernel, stride, padding, use_ceil):
    """Ours divides by the size of the window, also where `use_ceil` lets it stand out."""
    kernel = kernel[:ndim]
    layer = getattr(nn, f"AvgPool{ndim}d")(kernel, stride, padding, use_ceil)

    def call(own, x):
        if ndim == 1:  # PyTorch has the divisor for two and three dimensions
            options = {"ceil_mode": use_ceil, "divisor_override": math.prod(kernel)}
            return AVG[2](x[None, None], (1, *kernel), (1, stride), (0, padding), **options)[0, 0]
        return AVG[ndim](
            x[None],
            kernel,
            stride,
            padding,
            ceil_mode=use_ceil,
            divisor_override=math.prod(kernel),
        )[0]

    agrees(layer, call, draw(2, *SIZES[:ndim]))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("pairs", [((0, 1),) * 3, ((2, 1), (0, 2), (1, 1))])
def test_paddings_of_two_sides(agrees, draw, ndim, pairs):
    flat = [p for pair in reversed(pairs[:ndim]) for p in pair]
    for kind, fill, pool in (("Max", -torch.inf, MAX[ndim]), ("Avg", 0.0, AVG[ndim])):
        layer = getattr(nn, f"{kind}Pool{ndim}d")(3, 2, pairs[:ndim])

        def call(own, x, fill=fill, pool=pool):
            return pool(F.pad(x[None], flat, value=fill), 3, 2)[0]

        agrees(layer, call, draw(2, *SIZES[:ndim]))


@pytest.mark.parametrize("kind", ["Max", "Avg"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes(agrees, draw, kind, dtype):
    layer = getattr(nn, f"{kind}Pool2d")(2, 1)
    pool = (MAX if kind == "Max" else AVG)[2]
    agrees(layer, lambda _, x: pool(x[None], 2, 1)[0], draw(2, 4, 5, dtype=dtype))


@pytest.mark.parametrize("kind", ["Avg", "Max"])
@pytest.mark.parametrize(
    ("target", "sizes"), [((1, 1, 1), SIZES), ((2, 3, 1), (6, 9, 5)), ((4, 1, 3), (4, 3, 6))]
)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_adaptive_pool_where_the_target_divides(agrees, draw, kind, target, sizes, ndim):
    layer = getattr(nn, f"Adaptive{kind}Pool{ndim}d")(target[:ndim])
    pool = ADAPTIVE[kind][ndim]
    agrees(layer, lambda _, x: pool(x[None], target[:ndim])[0], draw(2, *sizes[:ndim]))


# https://github.com/patrick-kidger/equinox/issues/641
@pytest.mark.parametrize("kind", ["Avg", "Max"])
def test_adaptive_pool_where_it_does_not(agrees, draw, kind):
    """Our windows are those of `tensor_split`: the larger first, none overlapping."""
    layer = getattr(nn, f"Adaptive{kind}Pool2d")((3, 4))
    reduce = torch.mean if kind == "Avg" else torch.amax

    def call(own, x):
        rows = [
            torch.stack([reduce(cell, dim=(1, 2)) for cell in row.tensor_split(4, dim=2)], -1)
            for row in x.tensor_split(3, dim=1)
        ]
        return torch.stack(rows, 1)

    agrees(layer, call, draw(2, 7, 10))


@pytest.mark.parametrize("operation", ["std", "var", "norm"])
@pytest.mark.parametrize("size", [6, 8])
def test_adaptive_pool_of_any_operation(agrees, draw, operation, size):
    """Applied once, to all elements of a window, whether or not the size divides."""
    ours = {"std": jnp.std, "var": jnp.var, "norm": jnp.linalg.norm}[operation]
    theirs = {
        "std": lambda c: c.std(-1, correction=0),
        "var": lambda c: c.var(-1, correction=0),
        "norm": lambda c: c.norm(dim=-1),
    }[operation]
    layer = nn.AdaptivePool(3, 1, ours)

    def call(own, x):
        return torch.stack([theirs(cell) for cell in x.tensor_split(3, dim=1)], 1)

    agrees(layer, call, draw(2, size))


@pytest.mark.parametrize(
    ("init", "operation", "reduce"),
    [(0.0, jax.lax.add, torch.sum), (jnp.inf, jax.lax.min, torch.amin)],
)
def test_pool(agrees, draw, init, operation, reduce):
    layer = nn.Pool(init, operation, 1, 3, 2)
    agrees(layer, lambda _, x: reduce(x.unfold(1, 3, 2), dim=-1), draw(2, 9))


def test_no_channels():
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2)):
        assert layer(jnp.zeros((0, 4, 5))).shape == (0, 3, 4)
    assert nn.AdaptiveAvgPool1d(2)(jnp.zeros((0, 4))).shape == (0, 2)
