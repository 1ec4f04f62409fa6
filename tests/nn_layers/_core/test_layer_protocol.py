"""Layers are called with a key if their signature has one, and with a state if stateful."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_jit
from nn_layers import (
    Identity,
    Sequential,
    StatefulLayer,
)
from pytree_module import Module

KEY = jr.PRNGKey(8)
X = jnp.arange(1.0, 5.0)


class Plain(Module):
    """Takes no key."""

    def __call__(self, x):
        return 2 * x


class Keyed(Module):
    def __call__(self, x, **kwargs):
        assert list(kwargs) == ["key"]
        return jr.normal(kwargs["key"], x.shape)


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


def test_a_layer_can_say_it_is_not_stateful():
    class Sometimes(StatefulLayer):
        stateful: bool

        def is_stateful(self):
            return self.stateful

        def __call__(self, x, state=None, *, key=None):
            return (x, state + 1) if self.stateful else x + 10

    np.testing.assert_array_equal(Sequential([Sometimes(False)])(X), X + 10)
    assert Sequential([Sometimes(True)])(X, 1)[1] == 2
