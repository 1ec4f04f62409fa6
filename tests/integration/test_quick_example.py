"""The quick example of the README: a layer of one's own, plain `jax.jit` and `jax.grad`."""

import jax
import jax.numpy as jnp
import numpy as np

import equinoctial as eqx


class Linear(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __init__(self, in_size: int, out_size: int, key: jax.Array):
        weight_key, bias_key = jax.random.split(key)
        self.weight = jax.random.normal(weight_key, (out_size, in_size))
        self.bias = jax.random.normal(bias_key, (out_size,))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x + self.bias


@jax.jit
@jax.grad
def loss_gradient(model: Linear, x: jax.Array, y: jax.Array) -> jax.Array:
    predicted = jax.vmap(model)(x)
    return jnp.mean((y - predicted) ** 2)


def test_gradient_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2)).astype(np.float32)
    y = rng.normal(size=(100, 3)).astype(np.float32)
    model = Linear(2, 3, jax.random.key(0))
    gradient = loss_gradient(model, x, y)
    assert isinstance(gradient, Linear)
    residual = x @ np.asarray(model.weight).T + np.asarray(model.bias) - y
    np.testing.assert_allclose(gradient.weight, 2 * residual.T @ x / y.size, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient.bias, 2 * residual.sum(0) / y.size, rtol=1e-4, atol=1e-5)


def test_descent_finds_the_line():
    """Steps along that gradient find the least-squares solution."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 2)).astype(np.float32)
    y = x @ np.array([[1, 2], [-1, 0.5], [0, 3]], np.float32).T + np.array([1, 2, 3], np.float32)
    model = Linear(2, 3, jax.random.key(0))
    for _ in range(200):
        step = jax.tree.map(lambda g: -0.5 * g, loss_gradient(model, x, y))
        model = eqx.apply_updates(model, step)
    solution = np.linalg.lstsq(np.column_stack([x, np.ones(100)]), y, rcond=None)[0].T
    np.testing.assert_allclose(model.weight, solution[:, :2], atol=1e-3)
    np.testing.assert_allclose(model.bias, solution[:, 2], atol=1e-3)
    assert loss_gradient._cache_size() == 1  # one trace for all steps
