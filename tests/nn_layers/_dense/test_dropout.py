"""`Dropout`: what it keeps, what it needs, what it never differentiates."""

import dataclasses

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, is_array
from nn_layers import Dropout, Linear, Sequential, inference_mode
from tree_surgery import tree_at

KEY = jr.PRNGKey(3)
X = jnp.arange(1.0, 9.0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keeps_with_probability_and_scales(p):
    mask = np.asarray(jr.bernoulli(KEY, 1 - p, X.shape))
    np.testing.assert_allclose(Dropout(p)(X, key=KEY), np.where(mask, X / (1 - p), 0), rtol=1e-6)
    many = Dropout(p)(jnp.ones(100_000), key=KEY)
    np.testing.assert_allclose((many == 0).mean(), p, atol=0.01)
    np.testing.assert_allclose(many.mean(), 1, atol=0.02)  # the expectation stays


@pytest.mark.parametrize("p", [0, 0.0, False])
def test_at_zero_nothing_is_dropped_and_no_key_needed(p):
    np.testing.assert_array_equal(Dropout(p)(X), X)


def test_at_one_everything_is_dropped_and_gradients_are_zero():
    for p in (1, 1.0, jnp.array(1.0)):
        np.testing.assert_array_equal(Dropout(p)(X, key=KEY), np.zeros(8))
        gradient = jax.grad(lambda x, p=p: Dropout(p)(x, key=KEY).sum())(X)
        np.testing.assert_array_equal(gradient, np.zeros(8))


def test_inference_wherever_it_is_said():
    np.testing.assert_array_equal(Dropout(inference=True)(X), X)
    np.testing.assert_array_equal(Dropout()(X, inference=True), X)
    np.testing.assert_array_equal(inference_mode(Dropout())(X, key=KEY), X)
    dropped = Dropout(inference=True)(X, key=KEY, inference=False)
    np.testing.assert_array_equal(dropped, Dropout()(X, key=KEY))


def test_no_key_says_what_to_do():
    for call in (Dropout(), filter_jit(Dropout())):
        with pytest.raises(RuntimeError, match=r"requires a key.*inference_mode"):
            call(X)


# https://github.com/patrick-kidger/equinox/commit/466b85f
def test_p_receives_no_gradient():
    gradient = filter_grad(lambda layer: layer(X, key=KEY).sum())(Dropout(jnp.array(0.3)))
    assert gradient.p == 0
    tangent = jax.jvp(lambda p: Dropout(p)(X, key=KEY), (0.3,), (1.0,))[1]
    np.testing.assert_array_equal(tangent, np.zeros(8))


# https://github.com/patrick-kidger/equinox/issues/681
@pytest.mark.parametrize(
    "transform", [jax.jit, jax.checkpoint, lambda f: jax.jit(jax.checkpoint(f))]
)
def test_a_model_through_plain_transformations(transform):
    model = Sequential([Linear(8, 3, key=KEY), Dropout(0.4)])

    def loss(model, x, key):
        return (model(x, key=key) ** 2).sum()

    arguments = (model, X, KEY)
    np.testing.assert_allclose(transform(loss)(*arguments), loss(*arguments), rtol=1e-6)
    expected = filter_grad(loss)(*arguments)
    got = jax.grad(transform(loss), allow_int=True)(*arguments)
    np.testing.assert_allclose(got.layers[0].weight, expected.layers[0].weight, rtol=1e-6)


def test_a_traced_flag_chooses_at_run_time():
    call = jax.jit(lambda layer, x: layer(x, key=KEY))
    np.testing.assert_array_equal(call(Dropout(0.4, inference=True), X), X)
    np.testing.assert_allclose(call(Dropout(0.4), X), Dropout(0.4)(X, key=KEY), rtol=1e-6)
    with pytest.raises(RuntimeError, match="`inference` flag is traced"):
        jax.jit(lambda layer, x: layer(x))(Dropout(0.4, inference=True), X)


@pytest.mark.parametrize("p", [0.25, jnp.float32(0.25)])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.complex64])
def test_the_dtype_stays(p, dtype):
    y = Dropout(p)(X.astype(dtype), key=KEY)
    assert y.dtype == dtype
    kept = np.asarray(y != 0)
    np.testing.assert_allclose(
        np.asarray(y.astype(jnp.complex64))[kept], np.asarray(X / 0.75)[kept], rtol=1e-2
    )


def test_each_of_a_batch_has_its_own_key():
    rows = jax.vmap(Dropout())(jnp.ones((64, 32)), key=jr.split(KEY, 64))
    assert len(np.unique(np.asarray(rows), axis=0)) == 64


@pytest.mark.parametrize("p", [-0.1, 1.5, 2])
def test_p_is_a_probability(p):
    with pytest.raises(ValueError, match=rf"`Dropout`: `p` is a probability.*got {p}"):
        Dropout(p)


def test_the_old_name_of_the_flag():
    with pytest.warns(UserWarning, match=r"`deterministic` is deprecated"):
        assert Dropout(deterministic=True).inference
    with pytest.warns(UserWarning, match=r"`deterministic` is deprecated"):
        np.testing.assert_array_equal(Dropout()(X, deterministic=True), X)
    # Reading it does not warn, as on Equinox; it is no field of its own.
    assert Dropout(inference=True).deterministic is True and Dropout().deterministic is False
    dropout = Dropout()
    assert tree_at(lambda d: d.deterministic, dropout, True).inference is True
    assert inference_mode(dropout).deterministic is True
    with pytest.raises(dataclasses.FrozenInstanceError):
        dropout.deterministic = True


def test_leaves():
    assert jax.tree_util.tree_leaves(Dropout(0.3)) == [0.3, False]
    assert not any(map(is_array, jax.tree_util.tree_leaves(Dropout(0.3))))
