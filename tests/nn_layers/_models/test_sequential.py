"""`Sequential` and `Lambda`: composition, keys, state, indexing."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import (
    Dropout,
    Identity,
    Lambda,
    Linear,
    Sequential,
    StatefulLayer,
)

KEY = jr.PRNGKey(8)
X = jnp.arange(1.0, 5.0)


class Count(StatefulLayer):
    def __call__(self, x, state, *, key=None):
        return x + 1, state + 1


def test_composes():
    linear = Linear(4, 2, key=KEY)
    model = Sequential([Lambda(jnp.sin), linear, Identity(), Lambda(jnp.exp)])
    expected = np.exp(np.asarray(linear.weight) @ np.sin(X) + np.asarray(linear.bias))
    np.testing.assert_allclose(model(X), expected, rtol=1e-5)
    np.testing.assert_allclose(model(X, key=KEY), expected, rtol=1e-5)


def test_each_layer_has_its_own_key():
    keys = jr.split(KEY, 3)
    model = Sequential([Dropout(0.3), Identity(), Dropout(0.4)])
    expected = Dropout(0.4)(Dropout(0.3)(X, key=keys[0]), key=keys[2])
    np.testing.assert_array_equal(model(X, key=KEY), expected)


def test_empty():
    assert Sequential([])(X) is X
    assert Sequential([])(X, key=KEY) is X


def test_index_slice_iterate():
    layers = [Identity(), Dropout(), Lambda(jnp.sin)]
    model = Sequential(layers)
    assert model.layers == tuple(layers)
    assert list(model) == layers
    assert len(model) == 3
    assert model[1] is layers[1]
    assert model[-1] is layers[2]
    assert model[np.int64(0)] is layers[0]
    assert isinstance(model[1:], Sequential)
    assert model[1:].layers == tuple(layers[1:])
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(TypeError, match="an integer or a slice"):
        model["a"]


def test_state_goes_to_the_stateful():
    model = Sequential([Count(), Lambda(lambda x: 2 * x), Sequential([Count(), Identity()])])
    assert model.is_stateful()
    y, state = model(X, 0, key=KEY)
    assert state == 2
    np.testing.assert_array_equal(y, 2 * (X + 1) + 1)
    with pytest.raises(ValueError, match="`Sequential` was called without a `state`.*Count"):
        model(X)


def test_state_without_stateful_layers_is_handed_back():
    model = Sequential([Identity()])
    assert not model.is_stateful()
    assert model(X, None) == (X, None) or model(X, None)[1] is None


def test_gradients_of_a_lambda_that_is_a_tree():
    layer = Lambda(Linear(4, 2, key=KEY))
    gradient = jax.grad(lambda layer: layer(X).sum())(layer)
    np.testing.assert_array_equal(gradient.fn.weight, np.tile(X, (2, 1)))
