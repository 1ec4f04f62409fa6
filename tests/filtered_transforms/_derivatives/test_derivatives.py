"""Jacobian products, Jacobians, checkpoints and jaxprs, against JAX on the arrays alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module, Partial

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


JACOBIANS = {
    "filter_jacfwd": jax.jacfwd,
    "filter_jacrev": jax.jacrev,
    "filter_hessian": jax.hessian,
}


@pytest.mark.parametrize("name", JACOBIANS)
# https://github.com/patrick-kidger/equinox/issues/801
# https://github.com/patrick-kidger/equinox/issues/734
def test_jacobians_equal_those_of_jax(name: str):
    ours, theirs = getattr(ft, name), JACOBIANS[name]
    for f in (jax.nn.relu, jnp.tanh, lambda x: (x**3).sum(), lambda x: {"a": x, "b": x**2}):
        for x in (X, jnp.array(1.0)):
            equal(ours(f)(x), theirs(f)(x))
            equal(ft.filter_jit(ours(f))(x), jax.jit(theirs(f))(x))
    x = jnp.stack([X, V])
    equal(ft.filter_vmap(ours(jnp.sin))(x), jax.vmap(theirs(jnp.sin))(x))


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians_of_modules(name: str):
    ours, theirs = getattr(ft, name), JACOBIANS[name]
    found = ours(call)(MODEL, X)
    expected = theirs(by_hand)(arrays_of(MODEL), X)
    if name == "filter_hessian":
        found = jax.tree.map(arrays_of, arrays_of(found), is_leaf=lambda x: isinstance(x, Model))
        equal(found, expected)
    else:
        assert found.activation is found.steps is None
        equal(arrays_of(found), expected)
    jacobian, aux = ours(lambda x: (jnp.sin(x), ("aux", x, 1)), has_aux=True)(X)
    equal(jacobian, theirs(jnp.sin)(X))
    assert aux[0] == "aux" and aux[2] == 1
    equal(aux[1], X)


@pytest.mark.parametrize("policy", [None, jax.checkpoint_policies.everything_saveable])
def test_checkpoint(policy: Any):
    f = ft.filter_checkpoint(lambda m, x, name: (m(x).sum(), name), policy=policy)
    assert f(MODEL, X, "n")[1] == "n"

    def loss(model: Model) -> jax.Array:
        return f(model, X, "n")[0]

    expected = jax.grad(lambda a: jax.checkpoint(by_hand, policy=policy)(a, X).sum())
    equal(arrays_of(ft.filter_grad(loss)(MODEL)), expected(arrays_of(MODEL)))
    jaxpr = str(jax.make_jaxpr(lambda x: f(MODEL, x, "n")[0])(X))
    assert "checkpoint" in jaxpr or "remat" in jaxpr


def test_make_jaxpr():
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    for x in (X, shape):
        jaxpr, shapes, rest = ft.filter_make_jaxpr(lambda x, s: (x * 2, s))(x, "s")
        assert [str(e.primitive) for e in jaxpr.eqns] == ["mul"]
        assert shapes == (shape, None) and rest == (None, "s")


class Affine(Module):
    weight: Any
    bias: Any
    unused: Any
    name: str = "affine"

    def __call__(self, x: Any, *, scale: Any = 1.0) -> Any:
        return {"y": (self.weight @ x + self.bias) * scale, "name": self.name}


AFFINE = Affine(jnp.arange(6.0).reshape(2, 3), jnp.ones(2), jnp.ones(9))
OF_AFFINE: dict[str, Callable[..., Any]] = {
    "a module": AFFINE,
    "a method": AFFINE.__call__,
    "a partial": Partial(lambda m, x, **kw: m(x, **kw), AFFINE),
    "a jitted module": ft.filter_jit(AFFINE),
    "a closure": lambda x, **kwargs: AFFINE(x, **kwargs),
}


@pytest.mark.parametrize("name", OF_AFFINE)
def test_arrays_of_a_function_are_constants_of_its_jaxpr(name: str):
    f = OF_AFFINE[name]
    for kwargs in ({}, {"scale": 2.0}, {"scale": jnp.array([2.0, 3.0])}):
        for x in (X, jax.ShapeDtypeStruct((3,), jnp.float32)):
            jaxpr, shapes, rest = ft.filter_make_jaxpr(f)(x, **kwargs)
            assert shapes["y"] == jax.ShapeDtypeStruct((2,), jnp.float32)
            assert rest == {"y": None, "name": "affine"}
        arrays = [leaf for leaf in kwargs.values() if ft.is_array(leaf)]
        assert len(jaxpr.in_avals) == 1 + len(arrays)
        if name != "a jitted module":  # there, they are arguments of the inner function
            assert {id(c) for c in jaxpr.consts} == {id(AFFINE.weight), id(AFFINE.bias)}
        (y,) = jax.extend.core.jaxpr_as_fun(jaxpr)(X, *arrays)
        np.testing.assert_array_equal(y, f(X, **kwargs)["y"])


def test_shard():
    first, second = jax.devices()[:2]
    mesh = jax.sharding.Mesh(np.array([first, second]), ("d",))
    halves = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    tree = {"x": jnp.arange(4.0), "name": "n", "y": jnp.arange(2.0)}
    out = ft.filter_shard(tree, second)
    assert out["name"] == "n" and out["x"].devices() == out["y"].devices() == {second}
    out = ft.filter_shard(tree, {"x": halves, "name": first, "y": second})
    assert out["x"].sharding.is_equivalent_to(halves, 1) and out["y"].devices() == {second}
    traced = ft.filter_jit(lambda t: ft.filter_shard(t, halves))(tree)
    assert traced["x"].sharding.is_equivalent_to(halves, 1) and traced["name"] == "n"
    equal(traced["x"], tree["x"])


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
