"""Rotary embeddings against NumPy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nn_layers import (
    RotaryPositionalEmbedding,
    ShapeError,
)


def normal(shape):
    """Drawn by NumPy: JAX would compile a program for each shape."""
    return np.random.default_rng(0).normal(size=shape).astype("f4")


def close(x, y, tolerance=1e-5):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def rotated(x, theta=1e4, positions=None):
    x = np.asarray(x, np.float64)
    half = x.shape[1] // 2
    positions = np.arange(len(x)) if positions is None else np.asarray(positions)
    angles = np.outer(positions, theta ** (-2 * np.arange(half) / x.shape[1]))
    turned = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angles)  # as complex numbers
    return np.concatenate([turned.real, turned.imag], 1)


# https://github.com/patrick-kidger/equinox/pull/799
@pytest.mark.parametrize(("length", "width"), [(3, 4), (9, 6), (0, 2), (2, 0)])
def test_rotary(length, width):
    x = normal((length, width))
    close(RotaryPositionalEmbedding(width)(x), rotated(x))
    for offset in (5, jnp.asarray(5)):
        y = jax.jit(lambda x, o: RotaryPositionalEmbedding(width)(x, offset=o))(x, offset)
        close(y, rotated(x, positions=5 + np.arange(length)))
    positions = 3 * jnp.arange(length)[::-1]
    y = RotaryPositionalEmbedding(width)(x, positions=positions)
    close(y, rotated(x, positions=positions))


# In Equinox 0.13.8 the tables of one `theta` are used for the other.
def test_each_theta_has_its_own_tables():
    x = normal((5, 4))
    for theta in (1e4, 1e2, 1e4):
        close(RotaryPositionalEmbedding(4, theta)(x), rotated(x, theta))


# https://github.com/patrick-kidger/equinox/issues/836
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_rotary_keeps_the_dtype(dtype):
    x = normal((300, 4)).astype(dtype)
    tolerance = 2 * float(jnp.finfo(dtype).eps)
    y = RotaryPositionalEmbedding(4)(x)
    assert y.dtype == dtype
    close(np.asarray(y, np.float64), rotated(x), tolerance)
    y = RotaryPositionalEmbedding(4, dtype=dtype)(x)
    assert y.dtype == dtype
    close(np.asarray(y, np.float64), rotated(x), 3 * tolerance)


# https://github.com/patrick-kidger/equinox/issues/568
def test_rotary_leaks_no_tracer():
    rope, x = RotaryPositionalEmbedding(6), normal((4, 6))
    with jax.checking_leaks():
        y = jax.jit(lambda x: rope(x))(x)
        jax.grad(lambda x: jax.lax.map(rope, x[None]).sum())(x)
        per_head = jax.vmap(rope, in_axes=1, out_axes=1)(jnp.stack([x, x], 1))
    close(y, rope(x))
    close(per_head[:, 1], rope(x))


def test_rotary_helpers():
    np.testing.assert_array_equal(
        RotaryPositionalEmbedding.rotate_half(jnp.arange(4.0)[None]), [[-2, -3, 0, 1]]
    )
    cosine, sine = RotaryPositionalEmbedding.precompute_freqs_cis(4, 3, 100.0, jnp.float16)
    angles = np.outer(np.arange(3), [1, 0.1])
    assert cosine.dtype == sine.dtype == jnp.float16
    close(np.asarray(cosine, np.float64), np.cos(angles), 1e-3)
    close(np.asarray(sine, np.float64), np.sin(angles), 1e-3)


def test_rotary_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="must be even, got 3"):
        RotaryPositionalEmbedding(3)
    with pytest.raises(ValueError, match="at least 0"):
        RotaryPositionalEmbedding(-2)
    for shape in ((3, 5), (4,), (2, 3, 4)):
        with pytest.raises(ShapeError, match=r"\(seq_length, embedding_size=4\)"):
            RotaryPositionalEmbedding(4)(jnp.ones(shape))
    with pytest.raises(ShapeError, match="seq_length=3"):
        RotaryPositionalEmbedding(4)(jnp.ones((3, 4)), positions=jnp.arange(2))


def test_rotary_takes_one_kind_of_position():
    rope, x = RotaryPositionalEmbedding(4), normal((3, 4))
    with pytest.raises(ValueError, match="`offset` or `positions`, not both"):
        rope(x, offset=2, positions=jnp.arange(3))
    with pytest.raises(ShapeError, match=r"`offset` must be a scalar, but is of shape \(3,\)"):
        rope(x, offset=jnp.arange(3))
