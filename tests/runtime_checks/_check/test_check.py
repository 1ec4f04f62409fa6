"""What a check may be given: indices, values to show, constants, tangents."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from runtime_checks import (
    EquinoxRuntimeError,
    EquinoxTracetimeError,
    branched_error_if,
    check,
    error_if,
)

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


def root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(positive(x) + 1)


def test_branches_by_index():
    texts = ["zero", "one", "two"]
    for f in (branched_error_if, filter_jit(branched_error_if)):
        for i in range(3):
            with pytest.raises(EquinoxRuntimeError) as caught:
                f(GOOD, jnp.array(True), jnp.array(i), texts)
            assert caught.value.message == texts[i]
        np.testing.assert_array_equal(f(GOOD, jnp.array(False), jnp.array(1), texts), GOOD)
        with pytest.raises(EquinoxRuntimeError, match="^two"):
            f(GOOD, GOOD < 3, jnp.array([1, 2, 0]), texts)
        with pytest.raises(EquinoxRuntimeError, match="^one"):  # of those that failed
            f(GOOD, GOOD != 1, jnp.array([1, 2, 0]), texts)
        with pytest.raises(EquinoxTracetimeError, match="^one"):
            f(GOOD, True, 1, texts)
    with pytest.raises(EquinoxRuntimeError, match="^two"):
        filter_jit(jax.vmap(lambda x, i: branched_error_if(x, x >= 0, i, texts)))(
            GOOD, jnp.array([1, 2, 0])
        )
    for index, msgs in ((3, texts), (0, [])):
        with pytest.raises(IndexError):
            branched_error_if(GOOD, True, index, msgs)


def test_check_needs_no_threading_and_shows_values():
    def f(x: jax.Array) -> jax.Array:
        check(x < 0, "negative", x=x, where=jnp.arange(3), total=x.sum())
        return x * 2

    programs = [f, filter_jit(f), filter_jit(lambda x: jax.grad(lambda x: f(x).sum())(x))]
    programs.append(filter_jit(jax.vmap(lambda x: (check(x < 0, "negative", x=x), x * 2)[1])))
    programs.append(
        filter_jit(lambda x: jax.lax.scan(lambda c, _: (f(c) / 2, None), x, None, length=3)[0])
    )
    for g in programs:
        g(GOOD)
        with pytest.raises(EquinoxRuntimeError, match="x = ") as caught:
            g(BAD)
        assert caught.value.values["x"] == -1 and caught.value.index == ((0,),)
    with pytest.raises(EquinoxRuntimeError) as caught:
        filter_jit(f)(BAD)
    assert caught.value.values["total"] == 0 and caught.value.values["where"] == 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="negative"):
        jax.block_until_ready(jax.jit(f)(BAD))
    with pytest.raises(EquinoxTracetimeError, match="always"):
        check(True, "always")
    assert check(False, "never") is None


# Equinox lets it through as well.
def test_a_tangent_goes_through_forwards_and_backwards():
    @jax.custom_jvp
    def double(x: jax.Array) -> jax.Array:
        return x * 2

    @double.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return double(x), positive_tangent(t, x) * 2

    def positive_tangent(t: jax.Array, x: jax.Array) -> jax.Array:
        return error_if(t, x < 0, "no tangent here")

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: (double(x) ** 2).sum())(x)

    for f in (
        gradient,
        filter_jit(gradient),
        jax.jit(gradient),
        filter_jit(jax.hessian(lambda x: (double(x) ** 2).sum())),
    ):
        expected = 8 * GOOD if f(GOOD).ndim == 1 else 8 * jnp.eye(3)
        np.testing.assert_allclose(f(GOOD), expected)
        with pytest.raises(EquinoxRuntimeError, match="no tangent here"):
            jax.block_until_ready(f(BAD))
    transposed = jax.linear_transpose(lambda t: positive_tangent(t, GOOD) * 3, GOOD)
    np.testing.assert_array_equal(transposed(GOOD)[0], 3 * GOOD)


def test_without_a_program_it_is_a_run_time_error():
    for f in (
        positive,
        jax.jacfwd(positive),
        jax.grad(lambda x: positive(x).sum()),
        jax.vmap(root),
    ):
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            f(BAD)
        assert type(caught.value) is EquinoxRuntimeError


def test_constants_while_tracing():
    for pred in (jnp.array(True), np.array([False, True])):
        for jit in (jax.jit, filter_jit):
            with pytest.raises(EquinoxTracetimeError, match="known"):
                jit(lambda x, pred=pred: error_if(x, pred, "known"))(GOOD)


@pytest.mark.parametrize(
    "traced", [jax.jit, lambda f: lambda x: jax.lax.cond(x > 9, jnp.cos, f, x)]
)
@pytest.mark.parametrize("jit", [jax.jit, filter_jit])
def test_constants_may_be_shown_of_mapped_examples(jit: Any, traced: Any):
    # JAX hands a constant of a traced program to the rule for `vmap` as a number without a shape.
    def positive(x: Any) -> Any:
        check(x < 0, "negative", least=0.5, count=np.int32(3))
        return branched_error_if(x, x < 0, jnp.array(1), ["not this", "negative"])

    f = jit(jax.vmap(traced(positive)))
    np.testing.assert_array_equal(f(jnp.array([1.0, 2.0])), [1, 2])
    with pytest.raises(EquinoxRuntimeError, match="negative") as caught:
        jax.block_until_ready(f(jnp.array([1.0, -2.0])))
    error = EquinoxRuntimeError.of(caught.value)
    assert error is not None and error.index == ((1,),)
