"""`WeightNorm` and `SpectralNorm` against NumPy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit
from nn_layers import (
    BatchNorm,
    Conv2d,
    Dropout,
    Linear,
    SpectralNorm,
    WeightNorm,
    inference_mode,
    make_with_state,
)
from pytree_module import Module
from tree_surgery import tree_at, tree_equal

KEY = jr.PRNGKey(4)


def close(x, y, tolerance=1e-5):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("axis", "over"), [(0, (1,)), (1, (0,)), (-1, (0,)), (None, (0, 1))])
def test_weight_norm(axis, over):
    norm = WeightNorm(Linear(3, 4, key=KEY), axis=axis)
    v, b = (np.asarray(x, np.float64) for x in (norm.layer.weight, norm.layer.bias))
    close(norm.g, np.sqrt((v**2).sum(over, keepdims=True)))
    x, g = jr.normal(KEY, (3,)), jr.normal(KEY, norm.g.shape)
    norm = tree_at(lambda n: n.g, norm, g)
    weight = np.asarray(g) * v / np.sqrt((v**2).sum(over, keepdims=True))
    close(norm(x), weight @ np.asarray(x) + b)
    # Moving v along itself changes nothing: the gradient is orthogonal to it, on each index.
    gradient = filter_grad(lambda n: (n(x) ** 2).sum())(norm)
    close((np.asarray(gradient.layer.weight) * v).sum(over), 0)
    close(
        gradient.g,
        jax.grad(
            lambda g: (
                (
                    (g * (v / np.sqrt((v**2).sum(over, keepdims=True))).astype("f4")) @ x
                    + norm.layer.bias
                )
                ** 2
            ).sum()
        )(g),
        1e-4,
    )


def test_weight_norm_of_a_convolution():
    conv = Conv2d(2, 3, 3, key=KEY)
    norm, x = WeightNorm(conv), jr.normal(KEY, (2, 5, 5))
    assert norm.g.shape == (3, 1, 1, 1)
    close(norm(x), conv(x))
    doubled = tree_at(lambda n: n.g, norm, 2 * norm.g)
    bias = conv.bias
    close(doubled(x) - bias, 2 * (conv(x) - bias))


@pytest.mark.parametrize("make", [WeightNorm, SpectralNorm])
def test_a_weight_of_zeros(make):
    linear = Linear(3, 2, key=KEY)
    linear = tree_at(lambda n: n.weight, linear, linear.weight.at[0].set(0.0))
    if make is SpectralNorm:
        linear = tree_at(lambda n: n.weight, linear, jnp.zeros((2, 3)))
        norm, state = make_with_state(make)(linear, "weight", key=KEY)
        call = lambda n: n(jnp.ones(3), state, inference=True)[0]  # noqa: E731
    else:
        norm, call = make(linear), lambda n: n(jnp.ones(3))
    close(call(norm)[0], linear.bias[0])
    gradient = filter_grad(lambda n: call(n).sum())(norm)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_half_precision_is_normalised_in_float32():
    linear = Linear(300, 2, use_bias=False, dtype=jnp.float16, key=KEY)
    linear = tree_at(lambda n: n.weight, linear, 100 * jnp.ones((2, 300), jnp.float16))
    norm = WeightNorm(linear)
    assert norm.g.dtype == jnp.float16
    close(norm.g, 100 * np.sqrt(300), 1e-3)  # its square, 3e6, is no float16
    assert norm(jnp.ones(300, jnp.float16)).dtype == jnp.float16
    spectral, state = make_with_state(SpectralNorm)(linear, "weight", key=KEY)
    y, state = spectral(jnp.ones(300, jnp.float16), state)
    close(y, np.full(2, np.sqrt(300 / 2)), 2e-3)
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("float16")}


def test_complex_weights():
    linear = Linear(3, 4, use_bias=False, dtype=jnp.complex64, key=KEY)
    x = jnp.ones(3, jnp.complex64)
    close(WeightNorm(linear)(x), linear(x))
    norm, state = make_with_state(SpectralNorm)(linear, "weight", 20, key=KEY)
    largest = np.linalg.svd(np.asarray(linear.weight))[1][0]
    close(norm(x, state)[0], np.asarray(linear(x)) / largest)


# https://github.com/patrick-kidger/equinox/issues/965
def test_equal_layers_are_equal_and_share_a_trace():
    makes = (
        lambda: WeightNorm(Linear(3, 4, key=KEY)),
        lambda: make_with_state(SpectralNorm)(Linear(3, 4, key=KEY), "weight", key=KEY),
    )
    for make in makes:
        one, two = make(), make()
        assert tree_equal(one, two, typematch=True)
        assert jax.tree.structure(one) == jax.tree.structure(two)
        traces = []

        @filter_jit
        def call(layer, traces=traces):
            traces.append(1)
            return (
                layer(jnp.ones(3)) if isinstance(layer, Module) else layer[0](jnp.ones(3), layer[1])
            )

        call(one), call(two)
        assert len(traces) == 1


def test_the_key_goes_to_the_layer():
    class Noisy(Module):
        weight: jax.Array

        def __call__(self, x, *, key=None):
            return Dropout(0.5)(self.weight @ x, key=key)

    noisy = Noisy(jr.normal(KEY, (4, 3)))
    close(WeightNorm(noisy)(jnp.ones(3), key=KEY), noisy(jnp.ones(3), key=KEY))
    with pytest.raises(RuntimeError, match="requires a key"):
        WeightNorm(noisy)(jnp.ones(3))


def test_what_cannot_be_normalised():
    linear = Linear(3, 2, key=KEY)
    with pytest.raises(AttributeError, match="Linear has no parameter `w`.*weight_name"):
        WeightNorm(linear, "w")
    with pytest.raises(TypeError, match="`use_bias` of Linear must be an array"):
        WeightNorm(linear, "use_bias")
    with pytest.raises(ValueError, match=r"shape \(2, 3\), which has no axis 2"):
        WeightNorm(linear, axis=2)
    with pytest.raises(TypeError, match="`axis` must be an integer or `None`"):
        WeightNorm(linear, axis=(0, 1))
    with pytest.raises(ValueError, match="`bias` must be at least two-dimensional"):
        SpectralNorm(linear, "bias", key=KEY)
    with pytest.raises(TypeError, match="pass `key=`"):
        SpectralNorm(linear, "weight", key=None)
    with pytest.raises(ValueError, match="`num_power_iterations` must be at least 0"):
        SpectralNorm(linear, "weight", -1, key=KEY)


@pytest.mark.parametrize("layer", [Linear(3, 4, key=KEY), Conv2d(2, 4, 3, key=KEY)])
def test_spectral_norm(layer):
    norm, state = make_with_state(SpectralNorm)(layer, "weight", num_power_iterations=2, key=KEY)
    matrix = np.asarray(layer.weight, np.float64).reshape(4, -1)
    u, v = (np.asarray(x, np.float64) for x in state.get(norm.uv_index))
    seen = []
    eye = jnp.zeros((3,)) if isinstance(layer, Linear) else jnp.zeros((2, 3, 3))

    class Spy(Module):
        weight: jax.Array

        def __call__(self, x):
            seen.append(self.weight)
            return x

    spy = tree_at(lambda n: n.layer, norm, Spy(layer.weight))
    for _ in range(2):
        _, state = spy(eye, state)
        for _ in range(2):
            u = matrix @ v / np.linalg.norm(matrix @ v)
            v = matrix.T @ u / np.linalg.norm(matrix.T @ u)
        close(seen[-1], (matrix / (u @ matrix @ v)).reshape(layer.weight.shape))
        for new, expected in zip(state.get(norm.uv_index), (u, v), strict=True):
            close(new, expected)
    fixed = jax.tree.leaves(state)
    _, state = inference_mode(spy)(eye, state)
    close(seen[-1], (matrix / (u @ matrix @ v)).reshape(layer.weight.shape))
    assert tree_equal(fixed, jax.tree.leaves(state))


def test_spectral_norm_differentiates_sigma_with_fixed_vectors():
    linear = Linear(3, 4, use_bias=False, key=KEY)
    norm, state = make_with_state(SpectralNorm)(linear, "weight", num_power_iterations=30, key=KEY)
    x = jr.normal(KEY, (3,))
    gradient = filter_grad(lambda n: (n(x, jax.tree.map(lambda a: a, state))[0] ** 2).sum())(norm)

    def numeric(w):
        return ((w / np.linalg.svd(w)[1][0] @ np.asarray(x, np.float64)) ** 2).sum()

    w = np.asarray(linear.weight, np.float64)
    steps = 1e-6 * np.eye(12).reshape(12, 4, 3)
    expected = [(numeric(w + e) - numeric(w - e)) / 2e-6 for e in steps]
    close(gradient.layer.weight.ravel(), expected, 1e-3)


@pytest.mark.parametrize("sizes", [(0, 2), (2, 0), (0, 0)])
def test_spectral_norm_of_a_weight_without_elements(sizes):
    linear = Linear(*sizes, key=KEY)
    norm, state = make_with_state(SpectralNorm)(linear, "weight", key=KEY)
    y, state = norm(jnp.zeros(sizes[0]), state)
    close(y, linear.bias)
    assert [len(v) for v in jax.tree.leaves(state)] == [sizes[1], sizes[0]]


# https://github.com/patrick-kidger/equinox/issues/705
def test_spectral_norm_inside_vmap_and_cond_leaks_nothing():
    norm, state = make_with_state(SpectralNorm)(Linear(3, 3, key=KEY), "weight", key=KEY)
    xs, flags = jr.normal(KEY, (4, 3)), jnp.array([True, False, True, False])

    @filter_jit
    def run(norm, state, xs, flags):
        def one(x, flag):
            return jax.lax.cond(flag, lambda s: norm(x, s), lambda s: (x, s), state)

        return jax.vmap(one)(xs, flags)

    with jax.checking_leaks():
        y, states = run(norm, state, xs, flags)
    new = norm(xs[0], state)[1]
    for i in range(4):
        own = jax.tree.map(lambda a, i=i: a[i], states)
        expected = (
            new
            if flags[i]
            else make_with_state(SpectralNorm)(Linear(3, 3, key=KEY), "weight", key=KEY)[1]
        )
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
            close(a, b)
        close(
            y[i],
            norm(xs[i], jax.tree.map(lambda a: a, expected), inference=True)[0]
            if flags[i]
            else xs[i],
        )


def test_spectral_norm_beside_batch_norm_in_a_batch():
    def make(key):
        return SpectralNorm(Linear(3, 4, key=key), "weight", key=key), BatchNorm(
            4, "b", mode="batch"
        )

    (linear, norm), state = make_with_state(make)(KEY)

    def call(x, state):
        x, state = linear(x, state)
        return norm(x, state)

    y, state = jax.vmap(call, (0, None), (0, None), axis_name="b")(jr.normal(KEY, (8, 3)), state)
    close(y.mean(0), 0)
    assert len(jax.tree.leaves(state)) == 5
