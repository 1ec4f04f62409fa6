"""Neighbours of floating-point numbers, default dtypes, and broadcasting from the left."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filtered_transforms import extend


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
@pytest.mark.parametrize("jitted", [False, True])
def test_neighbours_are_those_of_numpy(dtype: Any, jitted: bool):
    stage = jax.jit if jitted else lambda f: f
    info = jnp.finfo(dtype)
    values = [1.0, -1.0, 3.5, -1e-3, float(info.max), float(info.min), np.inf, -np.inf, np.nan]
    x = np.asarray(values, dtype)
    for f, towards in ((extend.nextafter, np.inf), (extend.prevbefore, -np.inf)):
        out = stage(f)(jnp.asarray(x))
        assert out.dtype == dtype
        with np.errstate(over="ignore"):
            expected = np.nextafter(x, np.asarray(towards, dtype))
        # As bfloat16 NumPy does not know that NaN is NaN.
        np.testing.assert_array_equal(np.asarray(out, np.float32), expected.astype(np.float32))
        zero = stage(f)(jnp.zeros((), dtype))
        assert float(zero) == np.copysign(float(info.tiny), towards)
        assert jax.grad(f)(jnp.ones((), dtype)) == 1


def test_neighbours_in_double_and_of_integers():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        assert extend.nextafter(1.0) == np.nextafter(1.0, 2.0)
        assert extend.prevbefore(np.float64(1.0)) == np.nextafter(1.0, 0.0)
    with pytest.raises(ValueError, match="int32 not inexact"):
        extend.nextafter(jnp.arange(2))


@given(st.lists(st.integers(1, 3), min_size=0, max_size=3), st.integers(0, 2))
def test_broadcasting_from_the_left(shape: list[int], more: int):
    arr = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    target = (*shape, *(2, 3)[:more])
    expected = np.broadcast_to(arr.reshape((*shape, *[1] * more)), target)
    np.testing.assert_array_equal(extend.left_broadcast_to(jnp.asarray(arr), target), expected)


def test_broadcasting_what_does_not_fit():
    with pytest.raises(ValueError, match="broadcast"):
        extend.left_broadcast_to(jnp.arange(2), (3, 2))


@pytest.mark.parametrize("x64", [False, True])
def test_default_dtype(x64: bool):
    with jax.enable_x64(x64) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(x64):
        dtype = extend.default_floating_dtype()
        assert dtype is (jnp.float64 if x64 else jnp.float32)
        assert jnp.zeros(2).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", np.nan),
        (jnp.bfloat16, np.nan),
        ("complex64", np.nan),
        ("int8", 127),
        ("uint16", 65535),
        ("bool", True),
    ],
)
def test_nan_or_what_comes_next_to_it(dtype: Any, expected: Any):
    for x in (jnp.zeros((2, 3), dtype), np.zeros((2, 3), dtype)):
        found = extend.nan_like(x)
        assert found.dtype == x.dtype
        # As bfloat16 NumPy does not know that NaN is NaN.
        found = found.astype("complex64")
        np.testing.assert_array_equal(found.real, np.full((2, 3), expected, "float32"))
