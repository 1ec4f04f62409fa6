"""`MLP` against NumPy; activations with parameters; the scan."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, is_array
from nn_layers import MLP, Linear, ShapeError
from pytree_module import Module

KEY = jr.PRNGKey(6)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


class Slope(Module):
    """A learnable activation."""

    slope: jax.Array
    name: str = "slope"

    def __call__(self, x):
        assert x.shape == ()  # an activation sees one neuron
        return jnp.where(x >= 0, x, self.slope * x)


def weights(mlp: MLP) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases, first to last, of an MLP with or without scan."""
    pairs = []
    for layer in mlp.layers:
        weight = np.asarray(layer.weight)
        bias = np.zeros(weight.shape[:-1]) if layer.bias is None else np.asarray(layer.bias)
        pairs += list(zip(weight, bias, strict=True)) if weight.ndim == 3 else [(weight, bias)]
    return pairs


@pytest.mark.parametrize(
    ("depth", "scan", "use_bias"),
    list(itertools.product((0, 1, 2, 4), (False, True), (True, False))),
)
def test_values(depth, scan, use_bias):
    mlp = MLP(3, 2, 5, depth, jnp.tanh, use_bias=use_bias, scan=scan, key=KEY)
    x = np.array([1.0, -2, 0.5], np.float32)
    expected = x
    *hidden, last = weights(mlp)
    assert len(hidden) == depth
    for weight, bias in hidden:
        expected = np.tanh(weight @ expected + bias)
    expected = last[0] @ expected + last[1]
    np.testing.assert_allclose(mlp(jnp.asarray(x)), expected, rtol=1e-5)
    np.testing.assert_allclose(filter_jit(mlp)(jnp.asarray(x), key=KEY), expected, rtol=1e-5)
    assert (mlp.layers[-1].bias is not None, mlp.layers[0].bias is not None) == (
        True,
        use_bias or depth == 0,
    )


def test_layers_are_linear_with_split_keys():
    mlp = MLP(3, 2, 5, 2, key=KEY)
    sizes = [(3, 5), (5, 5), (5, 2)]
    for layer, size, key in zip(mlp.layers, sizes, jr.split(KEY, 3), strict=True):
        assert layer == Linear(*size, key=key)


def test_scan_has_the_same_parameters_outputs_and_gradients():
    plain, scanned = MLP(3, 2, 5, 4, key=KEY), MLP(3, 2, 5, 4, scan=True, key=KEY)
    x = normal((3,))
    for (w, b), (v, c) in zip(weights(plain), weights(scanned), strict=True):
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(b, c)
    np.testing.assert_allclose(plain(x), scanned(x), rtol=1e-6)
    grads = [filter_grad(lambda m: (m(x) ** 2).sum())(m) for m in (plain, scanned)]
    for (w, b), (v, c) in zip(*map(weights, grads), strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(b, c, rtol=1e-5, atol=1e-7)


# https://github.com/patrick-kidger/equinox/commit/8960b09
@pytest.mark.parametrize("scan", [False, True])
def test_each_neuron_has_its_own_activation(scan):
    slope = Slope(jnp.array(0.25))
    mlp = MLP(3, 2, 4, 3, slope, slope, scan=scan, key=KEY)
    assert mlp.activation.slope.shape == (3, 4)
    assert mlp.final_activation.slope.shape == (2,)
    assert mlp.activation.name == "slope"
    np.testing.assert_array_equal(mlp.activation.slope, np.full((3, 4), 0.25))
    # Give each its own value, and compare with NumPy.
    own = np.asarray(jr.uniform(KEY, (3, 4)))
    last = np.array([0.3, 0.6], np.float32)

    def put(leaf):
        return {(3, 4): jnp.asarray(own), (2,): jnp.asarray(last)}.get(leaf.shape, leaf)

    activations = jax.tree_util.tree_map(
        lambda leaf: put(leaf) if is_array(leaf) else leaf, (mlp.activation, mlp.final_activation)
    )
    leaves, treedef = jax.tree_util.tree_flatten(mlp)
    count = len(jax.tree_util.tree_leaves(activations))
    mlp = treedef.unflatten([*leaves[:-count], *jax.tree_util.tree_leaves(activations)])
    x = np.array([1.0, -2, 0.5], np.float32)
    expected = x
    for (weight, bias), slopes in zip(weights(mlp), [*own, last], strict=True):
        expected = weight @ expected + bias
        expected = np.where(expected >= 0, expected, slopes * expected)
    np.testing.assert_allclose(mlp(jnp.asarray(x)), expected, rtol=1e-5)
    gradient = filter_grad(lambda m: (m(jnp.asarray(x)) ** 2).sum())(mlp)
    assert len(np.unique(gradient.activation.slope)) > 3


@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.softplus, jnp.sin])
def test_functions_of_jax(activation: Callable):
    mlp = MLP("scalar", "scalar", 4, 1, activation, jnp.exp, key=KEY)
    (w1, b1), (w2, b2) = weights(mlp)
    hidden = np.asarray(activation(jnp.asarray(w1 @ np.array([0.7], np.float32) + b1)))
    np.testing.assert_allclose(mlp(jnp.array(0.7)), np.exp(w2 @ hidden + b2)[0], rtol=1e-5)


def test_one_trace_for_equal_models():
    traces = []

    @filter_jit
    def call(mlp, x):
        traces.append(1)
        return mlp(x)

    for i in range(3):
        call(MLP(3, 2, 4, 2, key=jr.PRNGKey(i)), jnp.ones(3))
    assert len(traces) == 1
    assert MLP(3, 2, 4, 2, key=KEY) == MLP(3, 2, 4, 2, key=KEY)


def test_wrong_shapes_and_sizes():
    with pytest.raises(ShapeError, match=r"`Linear` takes an array of shape \(3,\)"):
        MLP(3, 2, 4, 2, key=KEY)(jnp.ones(4))
    with pytest.raises(ValueError, match="`MLP`: `depth` must be at least 0"):
        MLP(3, 2, 4, -1, key=KEY)
    with pytest.raises(TypeError, match="`MLP`: `width_size` must be an integer"):
        MLP(3, 2, 4.0, 1, key=KEY)
    with pytest.raises(TypeError, match="`MLP` draws"):
        MLP(3, 2, 4, 1, key=None)
