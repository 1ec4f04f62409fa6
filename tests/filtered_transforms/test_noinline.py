"""`noinline`, against the same functions without it; and `ContainerMeta`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import ContainerMeta, noinline
from pytree_module import Module

X = jnp.array([0.5, -1.0, 2.0])
TRACED: list[str] = []


def plain(x: Any, y: Any) -> Any:
    TRACED.append("plain")
    return {"s": jnp.sin(x) * y, "n": jnp.arange(2), "one": 1, "text": "t"}


WRAPPED = noinline(plain)
STAGES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f(X, X)["s"],
    "jit": lambda f: jax.jit(lambda x: f(x, 2.0)["s"])(X),
    "jvp": lambda f: jax.jvp(lambda x: f(x, x)["s"], (X,), (2 * X,)),
    "grad": lambda f: jax.grad(lambda x, y: f(x, y)["s"].sum(), (0, 1))(X, 3 * X),
    "jit grad": lambda f: jax.jit(jax.grad(lambda x: f(x, x)["s"].sum()))(X),
    "hessian": lambda f: jax.hessian(lambda x: f(x, x)["s"].sum())(X),
    "jacrev": lambda f: jax.jacrev(lambda x: f(x, x)["s"])(X),
    "vmap": lambda f: jax.vmap(lambda x: f(x, X)["s"])(jnp.stack([X, 2 * X])),
    "vmaps": lambda f: jax.jit(jax.vmap(jax.vmap(lambda x: f(x, 2.0)["s"]), 1))(jnp.eye(3)),
    "vmap of grad": lambda f: jax.vmap(jax.grad(lambda x: f(x, x)["s"]))(X),
    "grad of vmap": lambda f: jax.grad(lambda x: jax.vmap(lambda x: f(x, x)["s"])(x).sum())(X),
    "scan": lambda f: jax.lax.scan(lambda c, _: (f(c, c)["s"], None), X, None, length=3)[0],
    "cond": lambda f: jax.lax.cond(X[0] > 0, lambda: f(X, X)["s"], lambda: X),
    "linearize": lambda f: jax.linearize(lambda x: f(x, x)["s"], X)[1](X),
    "integers": lambda f: jax.jit(lambda x: f(x, x)["n"])(X),
    "shapes": lambda f: jax.eval_shape(lambda x: f(x, x)["s"], X),
}


@pytest.mark.parametrize("stage", STAGES)
def test_it_computes_the_same(stage: str):
    ours, theirs = STAGES[stage](WRAPPED), STAGES[stage](plain)
    if stage == "shapes":
        assert ours == theirs
        return
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs)


def test_what_is_no_array_goes_through():
    for f in (WRAPPED, ft.filter_jit(WRAPPED)):
        out = f(X, X)
        assert out["one"] == 1 and out["text"] == "t"


def test_it_is_traced_for_itself_once():
    @noinline
    def f(x: Any, y: Any) -> Any:
        TRACED.append("f")
        return x + y

    TRACED.clear()

    @jax.jit
    def g(x: Any) -> Any:
        return f(x, jnp.array(1.0)) + f(x, jnp.array(2.0)) + f(x, jnp.array(3.0))

    np.testing.assert_allclose(g(X), 3 * X + 6)
    one = len(TRACED)
    np.testing.assert_allclose(jax.jit(lambda x: g(x) + f(x, x[0]))(X), 3 * X + 6 + X + X[0])
    assert "f" in TRACED and len(TRACED) - one <= 2  # no program of its own again: shapes alone


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x


def test_functions_that_hold_arrays():
    f = noinline(Scale(X))
    np.testing.assert_array_equal(f(2 * X), 2 * X * X)
    gradient = ft.filter_grad(lambda s: noinline(s)(X).sum())(Scale(2 * X))
    np.testing.assert_array_equal(gradient.weight, X)
    assert ft.filter_grad(lambda f: f(X).sum())(f).dynamic_fn.weight.tolist() == X.tolist()


def test_functions_of_one_shape_take_each_others_place():
    def same(_: Any, x: Any) -> Any:
        return x

    one, other = noinline(lambda x: x + 1, same), noinline(lambda x: 10 * x, same)
    traced: list[int] = []

    @ft.filter_jit
    def call(f: Any, x: Any) -> Any:
        traced.append(1)
        return f(x)

    np.testing.assert_array_equal(call(one, X), X + 1)
    np.testing.assert_array_equal(call(other, X), 10 * X)
    assert len(traced) == 1
    mixed = jax.lax.cond(X[0] > 9, lambda: one(X), lambda: other(X))
    np.testing.assert_array_equal(mixed, 10 * X)


def test_a_class_of_texts():
    class Reason(metaclass=ContainerMeta):
        converged = "It has converged."
        diverged = "It has diverged."

    class More(Reason):
        limit = "It took too long."

    assert (Reason.converged, Reason.diverged, More.limit) == (0, 1, 2)
    assert [More[i] for i in range(len(More))] == list(More)
    assert More[Reason.diverged] == "It has diverged." and len(Reason) == 2
    assert jax.jit(lambda i: i)(Reason.diverged) == 1
