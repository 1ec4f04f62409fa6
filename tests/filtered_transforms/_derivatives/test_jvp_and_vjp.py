"""Jacobian products, against JAX on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.linspace(0.5, 2.0, 3)
V = jnp.arange(3.0)


class Model(Module):
    weight: jax.Array
    bias: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    steps: int = 2

    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.steps):
            x = self.activation(self.weight @ x + self.bias)
        return x


W = jnp.arange(9.0).reshape(3, 3) / 9
MODEL = Model(W, jnp.ones(3))
TANGENT = Model(W + 1, jnp.ones(3) * 2, None, None)


def model_of(arrays: Any) -> Model:
    return Model(arrays["weight"], arrays["bias"])


def by_hand(arrays: Any, x: jax.Array) -> jax.Array:
    return model_of(arrays)(x)


def arrays_of(model: Model) -> dict[str, jax.Array]:
    return {"weight": model.weight, "bias": model.bias}


def call(model: Model, x: jax.Array) -> jax.Array:
    return model(x)


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


STAGES = [lambda f: f, ft.filter_jit]


@pytest.mark.parametrize("stage", STAGES, ids=["eager", "jit"])
def test_jvp(stage: Any):
    def ours(model: Model, tangent: Any, x: jax.Array) -> Any:
        return ft.filter_jvp(call, (model, x), (tangent, x))

    theirs = jax.jvp(by_hand, (arrays_of(MODEL), X), (arrays_of(TANGENT), X))
    if stage is STAGES[1]:
        theirs = jax.jit(lambda p, t: jax.jvp(by_hand, p, t))(
            (arrays_of(MODEL), X), (arrays_of(TANGENT), X)
        )
    equal(stage(ours)(MODEL, TANGENT, X), theirs)


# https://github.com/patrick-kidger/equinox/issues/422
def test_jvp_tells_what_does_not_move():
    def f(x: Any, y: Any, name: str) -> Any:
        return x * 2, y * 2, name, jnp.arange(2), V

    out, tangent = ft.filter_jvp(f, (X, X, "n"), (X, None, None))
    equal(tangent[0], 2 * X)
    assert tangent[1:] == (None, None, None, None) and out[2] == "n"
    assert ft.filter_jvp(f, (X, X, "n"), (None, None, None))[1] == (None,) * 5
    nested = ft.filter_jvp(
        lambda x: ft.filter_jvp(lambda x, y: (x * y, y), (x, X), (x, None))[1], (X,), (V,)
    )
    equal(nested[0][0], X * X)
    equal(nested[1][0], V * X)
    assert nested[0][1] is nested[1][1] is None


def test_jvp_of_numbers_and_keywords():
    equal(ft.filter_jvp(lambda x, y, *, k: x * y * k, [X, 2.0], [X, 1.0], k=3)[1], 9 * X)
    with pytest.raises(ValueError, match="same pytree structure"):
        ft.filter_jvp(lambda x: x, (X,), ([X],))
    with pytest.raises(ValueError, match="same pytree structure"):
        ft.filter_jvp(lambda x: x, ([X],), (X,))


@pytest.mark.parametrize("stage", STAGES, ids=["eager", "jit"])
def test_vjp(stage: Any):
    def ours(model: Model, x: jax.Array, ct: jax.Array) -> Any:
        out, pull = ft.filter_vjp(call, model, x)
        return out, pull(ct)

    def theirs(arrays: Any, x: jax.Array, ct: jax.Array) -> Any:
        out, pull = jax.vjp(by_hand, arrays, x)
        return out, pull(ct)

    out, (model, x) = stage(ours)(MODEL, X, V)
    expected, (arrays, expected_x) = (theirs if stage is STAGES[0] else jax.jit(theirs))(
        arrays_of(MODEL), X, V
    )
    equal((out, arrays_of(model), x), (expected, arrays, expected_x))
    assert model.activation is model.steps is None


def test_vjp_of_mixed_results():
    def f(x: Any, n: Any) -> Any:
        return {"y": x**2, "n": jnp.arange(2), "name": "s", "z": x * 3}

    out, pull = ft.filter_vjp(f, X, 2)
    assert out["name"] == "s"
    equal(out["n"], jnp.arange(2))
    ct = {"y": V, "n": None, "name": None, "z": None}
    equal(pull(ct)[0], 2 * X * V)
    assert pull(ct)[1] is None
    equal(jax.tree.map(lambda x: x, pull)(ct)[0], 2 * X * V)
    equal(ft.filter_jit(lambda pull, ct: pull(ct))(pull, ct)[0], 2 * X * V)
    out, pull, aux = ft.filter_vjp(lambda x: (x, ("aux", X)), X, has_aux=True)
    assert aux[0] == "aux"
    equal(pull(V)[0], V)
    with pytest.raises(ValueError, match="structure of the result"):
        pull([V])
    with pytest.raises(TypeError, match="two-element tuple"):
        ft.filter_vjp(lambda x: x, X, has_aux=True)


def test_linearize():
    out, push = ft.filter_linearize(lambda m, x: (m(x), "name"), MODEL, X)
    expected, theirs = jax.linearize(by_hand, arrays_of(MODEL), X)
    equal(out[0], expected)
    tangent = push(TANGENT, X)
    np.testing.assert_allclose(tangent[0], theirs(arrays_of(TANGENT), X), rtol=1e-6)
    assert tangent[1] is None and out[1] == "name"
    zero = jax.tree.map(jnp.zeros_like, arrays_of(MODEL))
    none = Model(None, None, None, None)
    np.testing.assert_allclose(push(none, X)[0], theirs(zero, X), rtol=1e-6)


def test_jvp_of_python_numbers_that_go_through() -> None:
    assert ft.filter_jvp(lambda x, y: (x, y, 2), (1.0, 3.0), (5.0, None)) == (
        (1.0, 3.0, 2),
        (5.0, None, None),
    )


AROUND: dict[str, Callable[[Any], Any]] = {
    "filter_jvp": lambda f: ft.filter_jvp(f, (X,), (V,)),
    "jvp": lambda f: jax.jvp(f, (X,), (V,)),
    "jit": lambda f: (jax.jit(f)(X), None),
    "jvp of jit": lambda f: jax.jvp(jax.jit(f), (X,), (V,)),
    "linearize": lambda f: (jax.linearize(f, X)[0], None),
    "vmap of jvp": lambda f: jax.vmap(lambda x, v: jax.jvp(f, (x,), (v,)))(X, V),
}


@pytest.mark.parametrize("around", AROUND)
def test_jvp_within_another_derivative_tells_what_itself_does_not_move(around: str):
    def moves_one(x: Any) -> Any:
        out, tangents = ft.filter_jvp(
            lambda y: (y * x, x * 2, jnp.sin(y)), (x + 1,), (jnp.ones_like(x),)
        )
        assert tangents[1] is None
        return out, tangents

    (out, tangents), _ = AROUND[around](moves_one)
    equal(out[:2], ((X + 1) * X, X * 2))
    equal(tangents[0], X)
    np.testing.assert_allclose(tangents[2], np.cos(X + 1), rtol=1e-6)

    def moves_none(x: Any) -> Any:
        out, tangents = ft.filter_jvp(lambda y, z: (y * x, z), (x, 1.5), (None, None))
        assert tangents == (None, None) and out[1] == 1.5
        return out[0]

    equal(AROUND[around](moves_none)[0], X * X)
