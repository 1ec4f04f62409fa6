"""Pooling against loops in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers
from nn_layers import (
    AdaptiveAvgPool1d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    Pool,
    ShapeError,
)

pytestmark = pytest.mark.heavy


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def reference(x, reduce, fill, kernel, stride, padding, use_ceil=False):
    """One window at a time. `use_ceil` adds one that is cut off, if it begins inside."""
    x = np.pad(np.asarray(x, np.float64), [(0, 0), *padding], constant_values=fill, mode="constant")
    dims = x.shape[1:]
    sizes = []
    for dim, k, s, (_, after) in zip(dims, kernel, stride, padding, strict=True):
        size = (dim - k) // s + 1
        one_more = use_ceil and (dim - k) % s != 0 and size * s < dim - after
        sizes.append(size + one_more)
    y = np.zeros((x.shape[0], *sizes))
    for place in np.ndindex(*sizes):
        window = [
            np.arange(p * s, p * s + k) for p, s, k in zip(place, stride, kernel, strict=True)
        ]
        values = np.full((x.shape[0], *kernel), float(fill))
        for inside in np.ndindex(*kernel):
            at = tuple(int(w[i]) for w, i in zip(window, inside, strict=True))
            if all(a < dim for a, dim in zip(at, dims, strict=True)):
                values[(slice(None), *inside)] = x[(slice(None), *at)]
        y[(slice(None), *place)] = reduce(values.reshape(len(values), -1), axis=1)
    return y


GRID = list(itertools.product((1, 2, 3), (1, 2, 4), (0, 1, ((0, 1),)), (False, True), (5, 6)))


@pytest.mark.parametrize(("kernel", "stride", "padding", "use_ceil", "size"), GRID[::5])
def test_one_dimension(kernel, stride, padding, use_ceil, size):
    x = normal((2, size))
    pairs = ((padding, padding),) if isinstance(padding, int) else padding
    args = ((kernel,), (stride,), pairs, use_ceil)
    for cls, reduce, fill in ((MaxPool1d, np.max, -np.inf), (AvgPool1d, np.mean, 0)):
        y = cls(kernel, stride, padding, use_ceil)(x)
        np.testing.assert_allclose(y, reference(x, reduce, fill, *args), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "ndim"), list(itertools.product(("Max", "Avg"), (1, 2, 3))))
def test_more_dimensions_and_transformations(kind, ndim):
    pool = getattr(nn_layers, f"{kind}Pool{ndim}d")((2, 3, 2)[:ndim], stride=2, padding=1)
    x = normal((2, 4, 5, 3)[: ndim + 1])
    reduce, fill = (np.max, -np.inf) if kind == "Max" else (np.mean, 0)
    expected = reference(x, reduce, fill, (2, 3, 2)[:ndim], (2,) * ndim, ((1, 1),) * ndim)
    np.testing.assert_allclose(pool(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: pool(x))(x), expected, rtol=1e-5, atol=1e-6)
    batch = jax.vmap(pool)(jnp.stack([x, x + 1]))
    np.testing.assert_allclose(batch[0], expected, rtol=1e-5, atol=1e-6)


# https://github.com/patrick-kidger/equinox/issues/66
def test_gradient_of_max_goes_to_the_maximum():
    x = jnp.array([[1.0, 4.0, 2.0, 3.0, 0.0, 9.0]])
    gradient = jax.grad(lambda x: (MaxPool1d(2, 2)(x) * jnp.array([[1.0, 10.0, 100.0]])).sum())(x)
    np.testing.assert_array_equal(gradient, [[0, 1, 0, 10, 0, 100]])
    padded = jax.grad(lambda x: MaxPool1d(3, 3, padding=1)(x).sum())(x)
    np.testing.assert_array_equal(padded, [[0, 1, 0, 1, 0, 0]])


# https://github.com/patrick-kidger/equinox/issues/66
def test_gradient_of_the_mean_is_spread():
    gradient = jax.grad(lambda x: AvgPool1d(2, 2)(x).sum())(jnp.arange(6.0)[None])
    np.testing.assert_array_equal(gradient, np.full((1, 6), 0.5))
    gradient = jax.grad(lambda x: AvgPool2d(3, padding=1)(x).sum())(jnp.ones((1, 3, 3)))
    np.testing.assert_allclose(gradient[0], np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)


@pytest.mark.parametrize(("init", "operation"), [(0, jax.lax.add), (jnp.inf, jax.lax.min)])
def test_general_pool_has_gradients(init, operation):
    pool = Pool(init, operation, num_spatial_dims=1, kernel_size=3, stride=2)
    x = normal((2, 7))
    reduce = np.sum if init == 0 else np.min
    expected = reference(x, reduce, 0, (3,), (2,), ((0, 0),))
    np.testing.assert_allclose(pool(x), expected, rtol=1e-5)
    slope = jax.jvp(pool, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(slope, np.full((2, 3), 3.0 if init == 0 else 1.0), rtol=1e-6)
    assert jax.grad(lambda x: pool(x).sum())(x).shape == x.shape


# https://github.com/patrick-kidger/equinox/issues/176
def test_padding_is_never_pooled_as_a_value():
    x = -jnp.ones((1, 3, 3))
    np.testing.assert_array_equal(MaxPool2d(2, padding=1)(x), -np.ones((1, 4, 4)))
    for pool in (MaxPool2d(2, padding=3), AvgPool2d(2, padding=((0, 3), (0, 0)))):
        for call in (pool, jax.jit(lambda x, pool=pool: pool(x))):
            with pytest.raises(RuntimeError, match="should be less than the size of the kernel"):
                call(x)


# https://github.com/patrick-kidger/equinox/issues/66
# https://github.com/patrick-kidger/equinox/issues/176
@pytest.mark.parametrize(
    ("cls", "reduce", "fill"), [(MaxPool1d, np.max, -np.inf), (AvgPool1d, np.mean, 0)]
)
@pytest.mark.parametrize(("kernel", "padding"), [(3, 2), (4, 3), (5, 3), (4, ((3, 1),))])
def test_padding_of_more_than_half_the_window(cls, reduce, fill, kernel, padding):
    """Values, and gradients against differences."""
    x, pairs = normal((2, 6)), ((padding, padding),) if isinstance(padding, int) else padding
    f = lambda x: reference(x, reduce, fill, (kernel,), (2,), pairs)  # noqa: E731
    y, back = jax.vjp(cls(kernel, 2, padding), x)
    np.testing.assert_allclose(y, f(x), rtol=1e-5, atol=1e-6)
    weights = normal(y.shape)
    steps = 1e-6 * np.eye(x.size).reshape(-1, *x.shape)
    numeric = [((f(x + e) - f(x - e)) * weights).sum() / 2e-6 for e in steps]
    np.testing.assert_allclose(back(weights)[0].ravel(), numeric, rtol=1e-4, atol=1e-4)


def test_known_values_of_ceil():
    x = jnp.arange(1.0, 9.0)[None]
    np.testing.assert_array_equal(MaxPool1d(3, 2, use_ceil=True)(x), [[3, 5, 7, 8]])
    np.testing.assert_array_equal(AvgPool1d(3, 2, use_ceil=True)(x), [[2, 4, 6, 5]])
    # A window that begins inside counts, even if the stride is larger than the window...
    np.testing.assert_array_equal(MaxPool1d(2, 3, use_ceil=True)(x[:, :7]), [[2, 5, 7]])
    # ... and one that begins behind the end does not.
    np.testing.assert_array_equal(MaxPool1d(1, 4, use_ceil=True)(x[:, :6]), [[1, 5]])
    # ... nor one that begins in the padding there: it would hold nothing else.
    np.testing.assert_array_equal(MaxPool1d(2, 2, 1, use_ceil=True)(x[:, :7]), [[1, 3, 5, 7]])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32, jnp.int8, jnp.bool_])
def test_dtypes(dtype):
    x = jnp.array([[1, 0, 1, 1]]).astype(dtype)
    y = MaxPool1d(2)(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.astype(int), [[1, 1, 1]])
    mean = AvgPool1d(2)(jnp.array([[1, 2, 4]]).astype(dtype if dtype != jnp.bool_ else jnp.int32))
    assert mean.dtype == (dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.float32)
    np.testing.assert_array_equal(mean.astype(jnp.float32), [[1.5, 3]])


def test_equal_pools_are_equal():
    """The operation is a function of JAX, not one made for each instance."""
    assert jax.tree_util.tree_structure(MaxPool2d(2)) == jax.tree_util.tree_structure(MaxPool2d(2))
    assert MaxPool2d(2) == MaxPool2d((2, 2), (1, 1), ((0, 0), (0, 0)))
    assert MaxPool2d(2) != AvgPool2d(2)
    assert isinstance(MaxPool3d(2), Pool)


@pytest.mark.parametrize("shape", [(5, 5), (1, 2, 5, 5), ()])
def test_a_wrong_shape(shape):
    with pytest.raises(ShapeError, match=r"`MaxPool2d`.*\(channels, dim_1, dim_2\)") as caught:
        MaxPool2d(2)(jnp.ones(shape))
    assert ("jax.vmap" in str(caught.value)) == (len(shape) == 4)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"kernel_size": 2.5}, "`kernel_size` must be an integer"),
        ({"kernel_size": (2, 2, 2)}, "length"),
        ({"stride": 0}, "`stride` must be at least 1"),
        ({"padding": "SAME"}, "`padding`"),
        ({"padding": ((1, 1),)}, "`padding`"),
    ],
)
def test_arguments_that_are_none(kwargs, match):
    with pytest.raises(ValueError, match=f"`MaxPool2d`.*{match}|{match}"):
        MaxPool2d(**{"kernel_size": 2} | kwargs)


# https://github.com/patrick-kidger/equinox/issues/876
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_means_of_half_precision_are_computed_in_float32(dtype):
    """The sums are beyond float16, and beyond what bfloat16 can add 1 to."""
    x = np.concatenate([np.full(16, 20_000.0), np.tile([1.0, 1.5], 1024)])[None]
    x = jnp.asarray(x, dtype)
    for pool, many in ((AvgPool1d(16, 16), 16), (AvgPool1d(2064), 2064), (AdaptiveAvgPool1d(3), 0)):
        y = pool(x)
        assert y.dtype == x.dtype
        exact = np.asarray(x, "f8")
        expected = exact.reshape(1, -1, many or 688).mean(-1)
        np.testing.assert_allclose(
            np.asarray(y, "f8"), np.asarray(jnp.asarray(expected, dtype), "f8")
        )
    gradient = jax.grad(lambda x: AvgPool1d(16, 16)(x).astype("f4").sum())(x)
    assert gradient.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(gradient, "f8"), np.full((1, 2064), 1 / 16))
