"""`Sequential`, `Lambda`, `StatefulLayer` and `inference_mode`."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_jit
from nn_layers import (
    Dropout,
    Identity,
    Lambda,
    Linear,
    Sequential,
    StatefulLayer,
    inference_mode,
    tree_inference,
)
from pytree_module import Module

KEY = jr.PRNGKey(8)
X = jnp.arange(1.0, 5.0)


class Count(StatefulLayer):
    def __call__(self, x, state, *, key=None):
        return x + 1, state + 1


class Plain(Module):
    """Takes no key."""

    def __call__(self, x):
        return 2 * x


class Keyed(Module):
    def __call__(self, x, **kwargs):
        assert list(kwargs) == ["key"]
        return jr.normal(kwargs["key"], x.shape)


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


# https://github.com/patrick-kidger/equinox/issues/1024
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    "bare", [jax.nn.relu, jnp.sin, lambda x: x * 3, Plain(), jnp.ravel, np.sin]
)
def test_bare_functions_and_layers_without_key(bare, key):
    np.testing.assert_allclose(Sequential([bare, Identity()])(X, key=key), bare(X), rtol=1e-6)


@pytest.mark.parametrize("takes_key_first", [True, False])
def test_wrappers_have_the_signature_of_what_they_wrap(takes_key_first):
    """Two instances of one class, of which one takes a key and the other does not."""
    with_key = filter_jit(lambda x, *, key: jr.normal(key, x.shape))
    without = filter_jit(lambda x: 2 * x)
    order = [with_key, without] if takes_key_first else [without, with_key]
    y = Sequential(order)(X, key=KEY)
    drawn = jr.normal(jr.split(KEY)[0 if takes_key_first else 1], X.shape)
    np.testing.assert_allclose(y, 2 * drawn if takes_key_first else drawn, rtol=1e-6)


def test_keywords_take_the_key():
    np.testing.assert_array_equal(
        Sequential([Keyed()])(X, key=KEY), jr.normal(jr.split(KEY, 1)[0], X.shape)
    )


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


def test_a_layer_can_say_it_is_not_stateful():
    class Sometimes(StatefulLayer):
        stateful: bool

        def is_stateful(self):
            return self.stateful

        def __call__(self, x, state=None, *, key=None):
            return (x, state + 1) if self.stateful else x + 10

    np.testing.assert_array_equal(Sequential([Sometimes(False)])(X), X + 10)
    assert Sequential([Sometimes(True)])(X, 1)[1] == 2


def test_gradients_of_a_lambda_that_is_a_tree():
    layer = Lambda(Linear(4, 2, key=KEY))
    gradient = jax.grad(lambda layer: layer(X).sum())(layer)
    np.testing.assert_array_equal(gradient.fn.weight, np.tile(X, (2, 1)))


class Flagged(Module):
    inference: object
    inner: object


def flags(tree) -> list:
    return [
        leaf.inference
        for leaf in jax.tree_util.tree_leaves(tree, is_leaf=lambda x: hasattr(x, "inference"))
        if hasattr(leaf, "inference")
    ]


@pytest.mark.parametrize("value", [True, False])
def test_inference_mode_reaches_everything(value):
    shared = Dropout(0.3)
    tree = {"a": [Dropout(), Sequential([Dropout(0.2, inference=True)])], "b": (shared, shared)}
    changed = inference_mode(tree, value)
    assert flags(changed) == [value] * 4
    assert flags(tree) == [False, True, False, False]
    assert changed["a"][1].layers[0].p == 0.2
    nested = inference_mode(Flagged(not value, Flagged(not value, Dropout())), value)
    assert (nested.inference, nested.inner.inference, nested.inner.inner.inference) == (value,) * 3


def test_inference_mode_of_unusual_trees():
    assert inference_mode(None) is None
    linear = Linear(2, 2, key=KEY)
    assert inference_mode(linear) == linear
    assert inference_mode(Flagged(None, 1)).inference is True
    assert inference_mode(Flagged(Dropout(), 1)) == Flagged(True, 1)
    assert inference_mode(Flagged(jnp.array(False), 1)).inference is True

    class NoNode:
        inference = False

    leaf = NoNode()
    assert inference_mode([leaf, Dropout()])[0] is leaf
    assert leaf.inference is False


def test_the_alias():
    assert tree_inference is inference_mode
