"""`PReLU` against NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import MLP, Linear, PReLU, Sequential, ShapeError

KEY = jr.PRNGKey(2)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


@pytest.mark.parametrize("slope", [0.25, 0.1, [0.0, 1.0, 2.0]])
def test_prelu(slope):
    x = normal((2, 3))
    layer = PReLU(jnp.asarray(slope))
    expected = np.where(np.asarray(x) >= 0, x, np.asarray(slope) * np.asarray(x))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)
    gradient = jax.grad(lambda layer: layer(x).sum())(layer).negative_slope
    negative = np.minimum(np.asarray(x), 0)
    np.testing.assert_allclose(gradient, negative.sum(0 if np.ndim(slope) else None), rtol=1e-5)


def test_prelu_keeps_a_narrow_dtype():
    assert PReLU(0.5)(jnp.ones(3, jnp.bfloat16)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(PReLU()(jnp.array([-4, 2])), [-1.0, 2.0])


# https://github.com/patrick-kidger/equinox/issues/1024
# https://github.com/patrick-kidger/equinox/pull/1233
def test_prelu_stands_in_a_sequential():
    model = Sequential([Linear(3, 4, key=KEY), PReLU()])
    x = jnp.ones(3)
    np.testing.assert_array_equal(model(x, key=KEY), PReLU()(model[0](x)))
    mlp = MLP(3, 2, 4, 2, activation=PReLU(), key=KEY)
    assert mlp.activation.negative_slope.shape == (2, 4)
    assert mlp(x).shape == (2,)


def test_prelu_slopes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"`PReLU` .*\(\.\.\., 2\).*\(3,\)"):
        PReLU(jnp.ones(2))(jnp.ones(3))
