"""How jaxprs are read, and others made of them, in the same way under every JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms.extend import (
    all_jaxprs,
    bind_jit,
    equations,
    inner_programs,
    is_dropped,
    is_literal,
    jaxpr_as_function,
    jaxpr_has_effects,
    jaxpr_input_types,
    jaxpr_output_types,
    jaxpr_results,
    without_dead_code,
)

X = jnp.linspace(0.2, 0.9, 4)


def test_how_an_equation_is_read():
    jaxpr = jax.make_jaxpr(lambda x: jax.lax.top_k(2 * x, 2)[0])(X)
    double, top = equations(jaxpr)
    assert [is_literal(v) for v in double.inputs] == [True, False]
    assert top.inputs == double.outputs and jaxpr_results(jaxpr) == top.outputs[:1]
    assert (
        [t.shape for t in top.input_types] == [(4,)] == [t.shape for t in jaxpr_input_types(jaxpr)]
    )
    assert [t.shape for t in top.output_types] == [(2,), (2,)]
    assert [t.dtype for t in jaxpr_output_types(jaxpr)] == [np.float32]
    assert (
        top.params["k"] == 2 and "top_k" in repr(top) and not any(map(is_dropped, double.outputs))
    )
    assert inner_programs(top) is None and not top.jaxprs


def test_what_a_derivative_has_traced():
    def cube(x: jax.Array) -> jax.Array:
        return x**3

    (own,) = equations(jax.make_jaxpr(cube)(1.0))
    assert not own.is_of_derivative
    both = jax.make_jaxpr(lambda x: jnp.sin(jax.grad(cube)(x)))(1.0)
    *of_gradient, outside = equations(both)
    assert of_gradient and any(e.is_of_derivative for e in of_gradient)
    assert outside.name == "sin" and not outside.is_of_derivative


@pytest.mark.parametrize("wrapped", [lambda f: f, jax.jit, lambda f: lambda x: jax.lax.map(f, x)])
def test_effects_are_seen_also_within(wrapped: Callable[..., Any]):
    def shown(x: jax.Array) -> jax.Array:
        jax.debug.print("{}", x)
        return x

    assert jaxpr_has_effects(jax.make_jaxpr(wrapped(shown))(X))
    assert not jaxpr_has_effects(jax.make_jaxpr(wrapped(jnp.sin))(X))


def test_a_jaxpr_within_is_found_once():
    inner = jax.jit(jnp.sin)
    jaxpr = jax.make_jaxpr(lambda x: inner(x) + inner(x + 1) + jax.lax.map(inner, x))(X)
    jaxprs = all_jaxprs(jaxpr)
    names = [equation.name for jaxpr in jaxprs for equation in equations(jaxpr)]
    assert jaxprs[0] is jaxpr and len({id(jaxpr) for jaxpr in jaxprs}) == len(jaxprs)
    assert names.count("sin") == 2  # of an array, and of a number


def test_a_jitted_function_with_more_results():
    jaxpr = jax.make_jaxpr(jax.jit(jnp.sin, keep_unused=True))(X)
    (equation,) = equations(jaxpr)
    both = jax.make_jaxpr(lambda x: (jnp.sin(x), jnp.cos(x)))(X)
    made = jax.make_jaxpr(lambda x: bind_jit(equation, both, [x]))(X)
    (new,) = equations(made)
    assert new.name == equation.name and new.params["keep_unused"] and len(new.outputs) == 2
    sine, cosine = jax.jit(jaxpr_as_function(made))(X)
    assert np.allclose(sine, np.sin(X)) and np.allclose(cosine, np.cos(X))


def test_dead_code_goes_and_constants_stay():
    table = jnp.asarray(np.arange(4.0, dtype=np.float32))
    jaxpr = jax.make_jaxpr(lambda x: [jnp.sin(x), x * table][1])(X)
    smaller = without_dead_code(jaxpr)
    assert [equation.name for equation in equations(smaller)] == ["mul"]
    assert np.allclose(jaxpr_as_function(smaller)(X)[0], X * table)
