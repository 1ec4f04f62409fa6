"""`Embedding` against NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from nn_layers import Embedding, ShapeError

KEY = jr.PRNGKey(2)


def test_looks_rows_up():
    embedding = Embedding(5, 3, key=KEY)
    np.testing.assert_array_equal(embedding.weight, jr.normal(KEY, (5, 3)))
    table = np.asarray(embedding.weight)
    for i in (0, 4, -1):
        for x in (i, np.int64(i), jnp.asarray(i)):
            np.testing.assert_array_equal(embedding(x), table[i])
    np.testing.assert_array_equal(jax.jit(lambda x: embedding(x))(jnp.asarray(9)), table[4])
    tokens = jnp.array([1, 3, 1])
    np.testing.assert_array_equal(jax.vmap(embedding)(tokens), table[np.array([1, 3, 1])])


def test_gradient_counts_the_rows():
    def loss(weight):
        return jax.vmap(Embedding(weight=weight))(jnp.array([1, 3, 1])).sum()

    gradient = jax.grad(loss)(jnp.ones((4, 2)))
    np.testing.assert_array_equal(gradient, np.array([0, 2, 0, 1])[:, None] * np.ones((4, 2)))


def test_a_table_of_your_own():
    weight = jnp.arange(6.0).reshape(2, 3)
    for embedding in (Embedding(weight=weight), Embedding(2, weight=weight)):
        assert (embedding.num_embeddings, embedding.embedding_size) == (2, 3)
        np.testing.assert_array_equal(embedding(1), weight[1])
    assert Embedding(4, 2, dtype=jnp.float16, key=KEY)(1).dtype == jnp.float16


@pytest.mark.parametrize("sizes", [(3, 3), (2, 2)])
def test_tables_that_do_not_fit(sizes):
    with pytest.raises(ValueError, match=r"`weight` must have shape .*, got \(2, 3\)"):
        Embedding(*sizes, weight=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        Embedding(weight=jnp.ones(3))


def test_what_is_needed():
    for arguments in ({}, {"num_embeddings": 2, "key": KEY}, {"num_embeddings": 2}):
        with pytest.raises(ValueError, match="`num_embeddings`, `embedding_size` and `key`"):
            Embedding(**arguments)


def test_inputs_that_are_no_index():
    embedding = Embedding(5, 3, key=KEY)
    with pytest.raises(ShapeError, match=r"`Embedding` takes an array of shape \(\).*jax.vmap"):
        embedding(jnp.array([1]))
    for x in (jnp.asarray(1.0), 1.5, True):
        with pytest.raises(TypeError, match="takes an integer as index"):
            embedding(x)
