"""A check whose result is not used is reported, unless no user wrote it there."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from runtime_checks import EquinoxRuntimeError, error_if

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


def test_an_unused_result_is_reported_and_checked():
    def f(x: jax.Array) -> jax.Array:
        error_if(x, x < 0, "unused")
        return x

    line = f.__code__.co_firstlineno + 1
    g = filter_jit(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        g(GOOD)
        g(GOOD)
    assert [(w.lineno, w.filename) for w in caught] == [(line, __file__)]
    assert "'unused'" in str(caught[0].message) and "check(pred, msg)" in str(caught[0].message)
    with pytest.raises(EquinoxRuntimeError, match="unused"):
        g(BAD)
    # Its gradient does not need it, but it was used.
    h = filter_jit(jax.grad(lambda x: (positive(x) * 3).sum()))
    h(GOOD)
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        h(BAD)


def test_what_a_derivative_does_not_use_is_no_mistake():
    # The rule hands on what it has checked, and `grad` has no need of it.
    @jax.custom_vjp
    def f(x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    f.defvjp(lambda x: (positive(x), x), lambda x, g: (g * x,))
    for gradient, x in ((jax.grad(f), GOOD[1]), (jax.vmap(jax.grad(f)), GOOD)):
        np.testing.assert_array_equal(filter_jit(gradient)(x), x)  # warnings are errors here
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            filter_jit(gradient)(x - 2)
