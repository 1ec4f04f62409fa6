"""`LayerNorm` against NumPy in double precision."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import LayerNorm, ShapeError, State

KEY = jr.PRNGKey(4)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def reference(x, eps=1e-5):
    x = np.asarray(x, np.float64)
    return (x - x.mean()) / np.sqrt(x.var() + eps)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), ()])
@pytest.mark.parametrize(("use_weight", "use_bias"), [(True, True), (True, False), (False, True)])
def test_values(shape, use_weight, use_bias):
    norm = LayerNorm(shape, eps=1e-3, use_weight=use_weight, use_bias=use_bias)
    assert (norm.weight is not None, norm.bias is not None) == (use_weight, use_bias)
    x = 3 + 2 * normal(shape)
    np.testing.assert_allclose(norm(x), reference(x, 1e-3), rtol=1e-4, atol=1e-5)
    leaves, treedef = jax.tree_util.tree_flatten(norm)
    moved = treedef.unflatten([leaf + 0.5 for leaf in leaves])
    expected = reference(x, 1e-3) * (1.5 if use_weight else 1) + (0.5 if use_bias else 0)
    np.testing.assert_allclose(moved(x), expected, rtol=1e-4, atol=1e-5)


def test_gradient():
    x = normal((6,))
    gradient = jax.grad(lambda x: (LayerNorm(6)(x) ** 3).sum())(x)
    step, numeric = 1e-5, []
    for i in range(6):
        e = np.zeros(6)
        e[i] = step
        up, down = reference(np.asarray(x) + e), reference(np.asarray(x) - e)
        numeric.append(((up**3).sum() - (down**3).sum()) / (2 * step))
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-4)


# https://github.com/patrick-kidger/equinox/issues/876
@pytest.mark.parametrize("given", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("own", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_reduces_in_float32_and_returns_the_dtype_of_the_input(given, own):
    # Summed in float16 these overflow, in bfloat16 they lose the mean.
    x = (300 + 20 * normal((4096,))).astype(given)
    y = LayerNorm(4096, dtype=own)(x)
    assert y.dtype == given
    tolerance = 4 * float(jnp.finfo(given).eps) * 4
    np.testing.assert_allclose(
        np.asarray(y, np.float64), reference(x), atol=max(tolerance, 1e-4), rtol=tolerance
    )


def test_constant_input_is_finite_in_value_and_gradient():
    for x in (jnp.full(4, 3.0), jnp.zeros(4), jnp.full(4, 1e4, jnp.float16)):
        np.testing.assert_array_equal(LayerNorm(4)(x), np.zeros(4))
        gradient = jax.grad(lambda x: LayerNorm(4)(x).sum().astype(jnp.float32))(x)
        assert np.isfinite(np.asarray(gradient, np.float32)).all()


# https://github.com/patrick-kidger/equinox/issues/471
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (3,), (), (1, 4)])
def test_another_shape_is_an_error(shape):
    for call in (LayerNorm(4), jax.jit(lambda x: LayerNorm(4)(x))):
        with pytest.raises(ShapeError) as caught:
            call(jnp.ones(shape))
        assert "`LayerNorm` takes an array of shape (4,)" in str(caught.value)
        assert str(shape) in str(caught.value)
        assert ("jax.vmap(layer)(x)" in str(caught.value)) == (len(shape) == 2)


def test_state_is_passed_through():
    norm, x, state = LayerNorm(3), jnp.array([1.0, 2.0, 3.0]), State(())
    y, same = norm(x, state, key=KEY)
    assert same is state
    np.testing.assert_array_equal(y, norm(x))
    assert norm(x, None)[1] is None


def test_the_old_option():
    with pytest.warns(UserWarning, match="elementwise_affine"):
        norm = LayerNorm(3, elementwise_affine=False)
    assert norm.weight is None
    assert norm.bias is None


@pytest.mark.parametrize("shape", [3.0, "3", None, (3, 2.0)])
def test_shapes_that_are_none(shape):
    with pytest.raises(TypeError, match="`LayerNorm`: `shape` must be an integer"):
        LayerNorm(shape)
