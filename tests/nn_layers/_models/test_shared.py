"""`Shared` against the sum of both uses of a parameter."""

import io

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, is_array
from nn_layers import (
    Embedding,
    Linear,
    Shared,
)
from tree_surgery import tree_at, tree_deserialise_leaves, tree_equal, tree_serialise_leaves

KEY = jr.PRNGKey(4)


def close(x, y, tolerance=1e-5):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def pair():
    return Embedding(5, 3, key=KEY), Linear(3, 5, use_bias=False, key=KEY)


def readout_weight(layers):
    return layers[1].weight


def embedding_weight(layers):
    return layers[0].weight


def test_shared():
    shared = Shared(pair(), where=readout_weight, get=embedding_weight)
    embedding, readout = shared()
    assert readout.weight is embedding.weight
    assert len([x for x in jax.tree.leaves(shared) if is_array(x)]) == 1
    tokens = jnp.array([1, 4])

    def loss(shared):
        embedding, readout = shared()
        return (jax.vmap(readout)(jax.vmap(embedding)(tokens)) ** 2).sum()

    gradient = filter_grad(loss)(shared).pytree[0].weight
    w = embedding.weight
    expected = jax.grad(lambda w: ((w[tokens] @ w.T) ** 2).sum())(w)  # of both uses
    close(gradient, expected)
    assert tree_equal(shared, Shared(pair(), readout_weight, embedding_weight))


def test_shared_nodes_of_any_kind():
    linear = Linear(3, 3, key=KEY)
    other = Linear(3, 3, key=jr.PRNGKey(0))
    shared = Shared((linear, other, other), lambda t: (t[1], t[2]), lambda t: (t[0], t[0]))
    one, two, three = shared()
    assert tree_equal(one, two) and tree_equal(one, three)
    tall = Embedding(5, 3, key=KEY), Linear(5, 3, use_bias=False, key=KEY)
    embedding, readout = Shared(tall, readout_weight, lambda t: t[0].weight.T)()
    close(readout.weight, embedding.weight.T)


def test_shared_that_does_not_fit():
    tall = Embedding(5, 3, key=KEY), Linear(5, 3, key=KEY)
    for get in (embedding_weight, lambda t: (t[0].weight.T,), lambda t: 1):
        with pytest.raises(ValueError, match="what `get` returns must be like what it replaces"):
            Shared(tall, readout_weight, get)


def test_shared_is_saved_and_loaded():
    file = io.BytesIO()
    shared = Shared(pair(), readout_weight, embedding_weight)
    tree_serialise_leaves(file, shared)
    file.seek(0)
    blank = tree_at(lambda s: s.pytree[0].weight, shared, jnp.zeros((5, 3)))
    assert tree_equal(tree_deserialise_leaves(file, blank), shared)
