"""The cells against PyTorch's formulas, written in NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import GRUCell, LSTMCell, ShapeError

KEY = jr.PRNGKey(3)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def torch_gru(x, h, w_ih, w_hh, b_ih, b_hh):
    """With its two vectors of biases."""
    ri, zi, ni = np.split(w_ih @ x + b_ih, 3)
    rh, zh, nh = np.split(w_hh @ h + b_hh, 3)
    r, z = sigmoid(ri + rh), sigmoid(zi + zh)
    return (1 - z) * np.tanh(ni + r * nh) + z * h


def torch_lstm(x, h, c, w_ih, w_hh, b_ih, b_hh):
    i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def draws(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def with_parameters(cell, *parameters):
    leaves = [jnp.asarray(p, jnp.float32) for p in parameters]
    return jax.tree.unflatten(jax.tree.structure(cell), leaves)


# https://github.com/patrick-kidger/equinox/issues/1003
def test_gru_with_the_biases_of_pytorch():
    x, h, w_ih, w_hh, b_ih, b_hh = draws(3, 4, (12, 3), (12, 4), 12, 12)
    bias = b_ih + np.concatenate([b_hh[:8], np.zeros(4)])
    cell = with_parameters(GRUCell(3, 4, key=KEY), w_ih, w_hh, bias, b_hh[8:])
    y = cell(jnp.asarray(x, jnp.float32), jnp.asarray(h, jnp.float32))
    np.testing.assert_allclose(y, torch_gru(x, h, w_ih, w_hh, b_ih, b_hh), rtol=1e-4, atol=1e-5)


def test_lstm_with_the_biases_of_pytorch():
    x, h, c, w_ih, w_hh, b_ih, b_hh = draws(3, 4, 4, (16, 3), (16, 4), 16, 16)
    cell = with_parameters(LSTMCell(3, 4, key=KEY), w_ih, w_hh, b_ih + b_hh)
    state = (jnp.asarray(h, jnp.float32), jnp.asarray(c, jnp.float32))
    y = cell(jnp.asarray(x, jnp.float32), state)
    expected = torch_lstm(x, h, c, w_ih, w_hh, b_ih, b_hh)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


# https://github.com/patrick-kidger/equinox/pull/215
def test_without_bias():
    x, h, c, w_ih, w_hh = draws(3, 4, 4, (12, 3), (12, 4))
    cell = GRUCell(3, 4, use_bias=False, key=KEY)
    assert cell.bias is cell.bias_n is None
    y = with_parameters(cell, w_ih, w_hh)(jnp.asarray(x, jnp.float32), jnp.asarray(h, jnp.float32))
    np.testing.assert_allclose(y, torch_gru(x, h, w_ih, w_hh, 0, 0), rtol=1e-4, atol=1e-5)
    lstm = LSTMCell(3, 4, use_bias=False, key=KEY)
    assert lstm.bias is None
    x32, h32, c32 = (jnp.asarray(v, jnp.float32) for v in (x, h, c))
    expected = torch_lstm(x, h, c, np.asarray(lstm.weight_ih), np.asarray(lstm.weight_hh), 0, 0)
    np.testing.assert_allclose(lstm(x32, (h32, c32)), expected, rtol=1e-4, atol=1e-5)


def test_initial_parameters():
    gru, lstm = GRUCell(3, 4, key=KEY), LSTMCell(3, 4, key=KEY)
    for cell, n in ((gru, 4), (lstm, 3)):
        for leaf, key in zip(jax.tree.leaves(cell), jr.split(KEY, n), strict=True):
            np.testing.assert_array_equal(leaf, jr.uniform(key, leaf.shape, leaf.dtype, -0.5, 0.5))
    assert GRUCell(3, 4, dtype=jnp.float16, key=KEY).bias_n.dtype == jnp.float16
    assert GRUCell(2, 0, key=KEY)(jnp.ones(2), jnp.ones(0)).shape == (0,)


def test_gradient_through_a_sequence():
    cell, xs = GRUCell(2, 3, key=KEY), normal((5, 2))

    def run(h):
        return jax.lax.scan(lambda h, x: (cell(x, h), None), h, xs)[0].sum()

    def reference(h):
        w_ih, w_hh, b, b_n = (np.asarray(p, np.float64) for p in jax.tree.leaves(cell))
        for x in np.asarray(xs, np.float64):
            h = torch_gru(x, h, w_ih, w_hh, b, np.concatenate([np.zeros(6), b_n]))
        return h.sum()

    h = np.array([0.1, -0.2, 0.3])
    numeric = [(reference(h + e) - reference(h - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(jax.grad(run)(jnp.asarray(h, jnp.float32)), numeric, rtol=1e-3)


def test_shapes_that_do_not_fit():
    gru, lstm = GRUCell(3, 4, key=KEY), LSTMCell(3, 4, key=KEY)
    h = jnp.zeros(4)
    with pytest.raises(ShapeError, match=r"`GRUCell` .*\(input_size=3,\).*\(2,\)"):
        gru(jnp.ones(2), h)
    with pytest.raises(ShapeError, match=r"hidden_size=4"):
        gru(jnp.ones(3), jnp.zeros(3))
    with pytest.raises(ShapeError, match=r"\(7, 3\).*jax.vmap"):
        jax.jit(lambda x: lstm(x, (h, h)))(jnp.ones((7, 3)))
    with pytest.raises(ShapeError, match="hidden_size=4"):
        lstm(jnp.ones(3), (h, jnp.zeros(5)))
    with pytest.raises(TypeError, match="takes a pair"):
        lstm(jnp.ones(3), h)


def test_arguments_that_do_not_fit():
    with pytest.raises(TypeError, match="pass `key="):
        GRUCell(3, 4, key=None)
    with pytest.raises(TypeError, match="`LSTMCell`: `hidden_size` must be an integer"):
        LSTMCell(3, 4.0, key=KEY)
