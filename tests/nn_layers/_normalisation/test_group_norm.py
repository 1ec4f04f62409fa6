"""`GroupNorm` and `RMSNorm` against NumPy in double precision."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import GroupNorm, LayerNorm, Linear, RMSNorm, ShapeError, State

KEY = jr.PRNGKey(4)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def rms(x, eps):
    x = np.asarray(x, np.float64)
    return x / np.sqrt((x**2).mean() + eps)


def group(x, groups, eps):
    x = np.asarray(x, np.float64)
    parts = [(p - p.mean()) / np.sqrt(p.var() + eps) for p in np.split(x, groups)]
    return np.concatenate(parts)


def moved(layer):
    """The layer with other parameters than its initial ones: weight 1.5, bias 0.5."""
    return jax.tree.map(lambda leaf: leaf + 0.5, layer)


@pytest.mark.parametrize("shape", [(5,), (2, 3), ()])
@pytest.mark.parametrize(("use_weight", "use_bias"), [(True, True), (True, False), (False, True)])
def test_rms_norm(shape, use_weight, use_bias):
    norm = RMSNorm(shape, eps=1e-3, use_weight=use_weight, use_bias=use_bias)
    assert (norm.weight is not None, norm.bias is not None) == (use_weight, use_bias)
    x = 3 + 2 * normal(shape)
    np.testing.assert_allclose(norm(x), rms(x, 1e-3), rtol=1e-5, atol=1e-6)
    expected = rms(x, 1e-3) * (1.5 if use_weight else 1) + (0.5 if use_bias else 0)
    np.testing.assert_allclose(moved(norm)(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(groups, shape):
    x = 3 + 2 * normal(shape)
    expected = group(x, groups, 1e-3)
    norm = GroupNorm(groups, 4, eps=1e-3)
    np.testing.assert_allclose(norm(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved(norm)(x), 1.5 * expected + 0.5, rtol=1e-4, atol=1e-5)
    plain = GroupNorm(groups, eps=1e-3, channelwise_affine=False)
    assert plain.weight is plain.bias is plain.channels is None
    np.testing.assert_allclose(plain(x), expected, rtol=1e-4, atol=1e-5)


def test_each_channel_has_its_own_weight():
    norm = GroupNorm(2, 4)
    scaled = jax.tree.unflatten(jax.tree.structure(norm), [jnp.arange(4.0), jnp.zeros(4)])
    x = normal((4, 3))
    np.testing.assert_allclose(scaled(x), jnp.arange(4.0)[:, None] * norm(x), rtol=1e-6)


def test_one_group_is_a_layer_norm():
    x = normal((4, 3))
    np.testing.assert_allclose(GroupNorm(1, 4)(x), LayerNorm((4, 3))(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["rms", "group"])
def test_gradient(kind):
    norm = RMSNorm(6) if kind == "rms" else GroupNorm(2, 6)
    reference = (lambda x: rms(x, 1e-5)) if kind == "rms" else (lambda x: group(x, 2, 1e-5))
    x = normal((6,))
    gradient = jax.grad(lambda x: (norm(x) ** 3).sum())(x)
    numeric = [
        ((reference(x + e) ** 3).sum() - (reference(x - e) ** 3).sum()) / 2e-6
        for x, e in [(np.asarray(x, np.float64), e) for e in 1e-6 * np.eye(6)]
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=2e-3, atol=1e-3)


# https://github.com/patrick-kidger/equinox/pull/723
@pytest.mark.parametrize("own", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("given", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_reduces_in_float32_and_returns_the_dtype_of_the_input(given, own):
    # Their squares overflow in float16; their sum loses the mean in bfloat16.
    x = (600 + 20 * normal((4096,))).astype(given)
    tolerance = max(16 * float(jnp.finfo(given).eps), 1e-3)
    for norm, expected in (
        (RMSNorm(4096, dtype=own), rms(x, 1e-5)),
        (GroupNorm(2, 4096, dtype=own), group(x, 2, 1e-5)),
    ):
        y = norm(x)
        assert y.dtype == given
        np.testing.assert_allclose(np.asarray(y, np.float64), expected, atol=tolerance)


def test_constant_input_is_finite_in_value_and_gradient():
    for norm in (RMSNorm(4), GroupNorm(2, 4)):
        for x in (jnp.zeros(4), jnp.full(4, 1e4, jnp.float16)):
            y, gradient = jax.value_and_grad(lambda x, n=norm: n(x).sum().astype("f4"))(x)
            assert np.isfinite(y)
            assert np.isfinite(np.asarray(gradient, np.float32)).all()


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"`RMSNorm` takes an array of shape \(4,\).*jax.vmap"):
        RMSNorm(4)(jnp.ones((7, 4)))
    for call in (GroupNorm(2, 4), jax.jit(lambda x: GroupNorm(2, 4)(x))):
        with pytest.raises(ShapeError, match=r"channels=4, \.\.\..*\(7, 4\).*jax.vmap"):
            call(jnp.ones((7, 4)))
    for shape in ((3,), ()):
        with pytest.raises(ShapeError, match="groups=2"):
            GroupNorm(2, channelwise_affine=False)(jnp.ones(shape))


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`groups` \(=2\) must divide `channels` \(=3\)"):
        GroupNorm(2, 3)
    with pytest.raises(ValueError, match="`channels` must be given"):
        GroupNorm(2)
    with pytest.raises(ValueError, match="`groups` must be at least 1"):
        GroupNorm(0, 4)
    with pytest.raises(TypeError, match="`RMSNorm`: `shape` must be an integer"):
        RMSNorm(2.0)


def test_state_is_passed_through():
    x, state = jnp.arange(4.0), State(Linear(1, 1, key=KEY))
    for norm in (RMSNorm(4), GroupNorm(2, 4)):
        y, same = norm(x, state, key=KEY)
        assert same is state
        np.testing.assert_array_equal(y, norm(x))


def test_rms_of_complex_numbers_is_of_their_magnitudes():
    """The mean of the squares themselves would be 0 for these."""
    x = jnp.array([3.0, 3.0j, -4.0, 4.0j], "c8")
    y = RMSNorm(4, use_weight=False, use_bias=False)(x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, np.asarray(x) / np.sqrt(12.5 + 1e-5), rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.abs(RMSNorm(4, dtype="c8")(x)).sum())(x)
    assert jnp.isfinite(gradient).all()


def test_complex_numbers_are_normalised_by_their_magnitudes():
    x = np.random.default_rng(0).normal(size=(4, 6, 2)).astype("f4").view("c8")[..., 0]
    whole = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    np.testing.assert_allclose(LayerNorm((4, 6), dtype="c8")(x), whole, rtol=1e-4, atol=1e-5)
    grouped = x.reshape(2, 12)
    grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(
        grouped.var(1, keepdims=True) + 1e-5
    )
    y = GroupNorm(2, 4)(x)
    np.testing.assert_allclose(y, grouped.reshape(4, 6), rtol=1e-4, atol=1e-5)
