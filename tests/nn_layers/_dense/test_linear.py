"""`Linear` and `Identity`: parameters, outputs, gradients, against NumPy."""

import math

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_jit
from nn_layers import Identity, Linear, ShapeError

KEY = jr.PRNGKey(0)


def test_initial_values_are_those_of_the_documented_draw():
    linear = Linear(3, 4, key=KEY)
    weight_key, bias_key = jr.split(KEY)
    bound = 1 / math.sqrt(3)
    np.testing.assert_array_equal(
        linear.weight, jr.uniform(weight_key, (4, 3), minval=-bound, maxval=bound)
    )
    np.testing.assert_array_equal(
        linear.bias, jr.uniform(bias_key, (4,), minval=-bound, maxval=bound)
    )


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        ((1, 1), jnp.float32),
        ((257, 300), jnp.float32),
        ((64, 33), jnp.bfloat16),
        ((5, 31), jnp.float16),
    ],
)
def test_the_draw_is_exact_to_the_last_bit(size, dtype):
    linear = Linear(*size, dtype=dtype, key=KEY)
    bound = 1 / math.sqrt(size[0])
    for key, parameter in zip(jr.split(KEY), (linear.weight, linear.bias), strict=True):
        expected = jr.uniform(key, parameter.shape, dtype, minval=-bound, maxval=bound)
        np.testing.assert_array_equal(parameter.astype(jnp.float32), expected.astype(jnp.float32))


def test_complex_parameters_draw_both_parts():
    linear = Linear(3, 4, dtype=jnp.complex64, key=KEY)
    real_key, imag_key = jr.split(jr.split(KEY)[0])
    bound = 1 / math.sqrt(3)
    for part, key in ((linear.weight.real, real_key), (linear.weight.imag, imag_key)):
        expected = jr.uniform(key, (4, 3), minval=-bound, maxval=bound)
        np.testing.assert_array_equal(part, expected)
    x = np.array([1, 1j, 2 - 1j], np.complex64)
    expected = np.asarray(linear.weight) @ x + np.asarray(linear.bias)
    np.testing.assert_allclose(linear(x), expected, rtol=1e-6)


@pytest.mark.parametrize("fan_in", [1, 4, 100])
def test_the_draw_fills_its_interval(fan_in: int):
    weight = np.asarray(Linear(fan_in, 20_000 // fan_in, key=KEY).weight)
    bound = 1 / math.sqrt(fan_in)
    assert -bound <= weight.min() < -0.99 * bound
    assert 0.99 * bound < weight.max() < bound
    assert abs(weight.mean()) < 0.03 * bound
    np.testing.assert_allclose(weight.var(), bound**2 / 3, rtol=0.05)  # of a uniform distribution


@pytest.mark.parametrize("in_features", [3, "scalar"])
@pytest.mark.parametrize("out_features", [4, "scalar"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_output_and_gradients(in_features, out_features, use_bias: bool):
    linear = Linear(in_features, out_features, use_bias, key=KEY)
    x = np.float32(1.5) if in_features == "scalar" else np.array([1, -2, 3], np.float32)
    weight = np.asarray(linear.weight)
    bias = np.asarray(linear.bias) if use_bias else 0
    expected = weight @ np.reshape(x, -1) + bias
    expected = expected.reshape(()) if out_features == "scalar" else expected
    for call in (linear, filter_jit(linear)):
        y = call(jnp.asarray(x), key=None)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    gradient = jax.grad(lambda layer: layer(jnp.asarray(x)).sum())(linear)
    np.testing.assert_allclose(
        gradient.weight, np.broadcast_to(np.reshape(x, -1), weight.shape), rtol=1e-6
    )
    if use_bias:
        np.testing.assert_array_equal(gradient.bias, np.ones(len(weight), np.float32))
    else:
        assert linear.bias is None


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtype_of_parameters_and_output(dtype):
    linear = Linear(3, 2, dtype=dtype, key=KEY)
    assert linear.weight.dtype == linear.bias.dtype == dtype
    assert linear(jnp.ones(3, dtype)).dtype == dtype


def test_nothing_in_and_nothing_out():
    np.testing.assert_array_equal(Linear(0, 3, key=KEY)(jnp.ones(0)), Linear(0, 3, key=KEY).bias)
    assert Linear(3, 0, key=KEY)(jnp.ones(3)).shape == (0,)


@pytest.mark.parametrize("shape", [(4,), (), (5, 3), (3, 5), (1, 3)])
def test_a_wrong_shape_says_layer_expected_received(shape):
    linear = Linear(3, 4, key=KEY)
    for call in (linear, filter_jit(linear)):  # eager and traced say the same
        with pytest.raises(ShapeError) as caught:
            call(jnp.ones(shape))
        message = str(caught.value)
        assert "`Linear`" in message
        assert "(3,)" in message
        assert str(shape) in message
        assert ("jax.vmap(layer)(x)" in message) == (len(shape) == 2)
        assert caught.value.received == shape
        assert caught.value.expected == (3,)


def test_two_axes_too_many_need_two_vmaps():
    with pytest.raises(ValueError, match=r"jax\.vmap\(jax\.vmap\(layer\)\)\(x\)"):
        Linear(3, 4, key=KEY)(jnp.ones((2, 5, 3)))


@pytest.mark.parametrize("x", [jnp.ones(1), jnp.ones((1, 1))])
def test_scalar_takes_no_vector(x):
    with pytest.raises(ShapeError, match=r"shape \(\)"):
        Linear("scalar", 2, key=KEY)(x)


def test_no_array():
    with pytest.raises(TypeError, match=r"`Linear` takes an array, but was called on a list"):
        Linear(3, 4, key=KEY)([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("sizes", "error", "match"),
    [
        ((3.0, 2), TypeError, "in_features.*must be an integer.*3.0"),
        ((3, None), TypeError, "out_features"),
        (("vector", 2), TypeError, '"scalar"'),
        ((-1, 2), ValueError, "at least 0"),
        ((True, 2), TypeError, "in_features"),
    ],
)
def test_sizes_that_are_none(sizes, error, match):
    with pytest.raises(error, match=match):
        Linear(*sizes, key=KEY)


def test_sizes_of_numpy_become_plain():
    linear = Linear(np.int64(3), np.int32(4), key=KEY)
    assert type(linear.in_features) is int
    assert linear == Linear(3, 4, key=KEY)


def test_no_key_and_no_float():
    with pytest.raises(TypeError, match="`Linear` draws its initial parameters"):
        Linear(3, 2, key=None)
    with pytest.raises(ValueError, match="`dtype` must be floating point or complex, got int32"):
        Linear(3, 2, dtype=jnp.int32, key=KEY)


def test_a_smaller_weight_may_be_put_in_place():
    """Pruning changes the weight, and leaves the static field behind."""
    linear = Linear(3, 2, key=KEY)
    leaves, treedef = jax.tree_util.tree_flatten(linear)
    pruned = treedef.unflatten([leaves[0][:, :2], leaves[1]])
    np.testing.assert_allclose(
        pruned(jnp.ones(2)), np.asarray(leaves[0])[:, :2].sum(1) + np.asarray(leaves[1]), rtol=1e-6
    )


def test_identity():
    assert Identity(3, 4, use_bias=True) == Identity()
    assert jax.tree_util.tree_leaves(Identity()) == []
    x = object()
    assert Identity()(x, key=None) is x
