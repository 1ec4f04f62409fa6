"""Adaptive pools against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nn_layers as nn
from nn_layers import AdaptivePool, ShapeError

pytestmark = pytest.mark.heavy


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def reference(x, target, operation):
    x = np.asarray(x, np.float64)
    y = np.zeros((x.shape[0], *target))
    # NumPy splits as said: the larger windows first.
    cuts = [np.array_split(np.arange(n), k) for n, k in zip(x.shape[1:], target, strict=True)]
    for i in np.ndindex(*target):
        window = x[np.ix_(np.arange(x.shape[0]), *(c[j] for c, j in zip(cuts, i, strict=True)))]
        y[(slice(None), *i)] = [operation(channel) for channel in window]
    return y


# The operation was once applied twice where the size divides: std gave 0.
# https://github.com/patrick-kidger/equinox/issues/641: the windows are documented.
@pytest.mark.parametrize("shape", [(2, 6), (2, 7), (2, 6, 4), (1, 5, 7), (2, 3, 5, 4)])
def test_any_operation(shape):
    x = normal(shape)
    for target in ((1,) * (len(shape) - 1), (3, 2, 4)[: len(shape) - 1]):
        for ours, theirs in ((jnp.mean, np.mean), (jnp.max, np.max), (jnp.std, np.std)):
            y = AdaptivePool(target, len(shape) - 1, ours)(x)
            np.testing.assert_allclose(y, reference(x, target, theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("kind", "operation"), [("Avg", np.mean), ("Max", np.max)])
def test_the_named(ndim, kind, operation):
    pool = getattr(nn, f"Adaptive{kind}Pool{ndim}d")(2)
    assert pool.target_shape == (2,) * ndim
    x = normal((2, *(3, 4, 5)[:ndim]))
    y = reference(x, (2,) * ndim, operation)
    np.testing.assert_allclose(pool(x), y, rtol=1e-5, atol=1e-6)


def test_gradient():
    gradient = jax.grad(lambda x: nn.AdaptiveAvgPool1d(2)(x)[0, 0])(jnp.ones((1, 5)))
    np.testing.assert_allclose(gradient, [[1 / 3, 1 / 3, 1 / 3, 0, 0]], rtol=1e-6)


def test_what_does_not_fit():
    pool = nn.AdaptiveAvgPool1d(5)
    for shape in ((1, 3), (5,), (1, 1, 6)):
        with pytest.raises(ShapeError, match=r"`AdaptiveAvgPool1d` .*\(channels, dim_1 >= 5\)"):
            pool(jnp.ones(shape))
    for target in ((2, 3), 2.0, 0):
        with pytest.raises(ValueError, match="`AdaptiveAvgPool1d`: `target_shape` must"):
            nn.AdaptiveAvgPool1d(target)
