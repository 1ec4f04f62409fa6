"""A field warns of a transformed function that hides the parameters of a module."""

import functools

import jax
import jax.numpy as jnp
import pytest

from pytree_module import Module, Partial

# Cycles.


class Holder(Module):
    inner: object


def test_partial_may_say_what_it_returns() -> None:
    class Holder(Module):
        f: Partial[int]

    assert Holder(Partial(max, 2)).f(3) == 3
    assert isinstance(Holder(Partial(max, 2)).f, Partial)


# Functions that hide parameters.


class Linear(Module):
    weight: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def scale(self, x: jax.Array) -> jax.Array:
        return self.weight * x


def bind(function):
    return functools.partial(function)


def bind_as_argument(function):
    return functools.partial(lambda f, x: f(x), getattr(function, "__self__", function))


# https://github.com/patrick-kidger/equinox/issues/206
# https://github.com/patrick-kidger/equinox/issues/665
# https://github.com/patrick-kidger/equinox/issues/1120
@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.vmap,
        jax.grad,
        jax.checkpoint,
        jax.pmap,
        jax.hessian,
        jax.custom_jvp,
        lambda f: jax.jit(jax.vmap(f)),
        lambda f: functools.partial(jax.vmap(f)),
        bind,
        bind_as_argument,
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: {"f": (f,)}])
@pytest.mark.parametrize("what", [lambda m: m, lambda m: m.scale, lambda m: m.__call__])
def test_transformed_module_as_a_field_warns(transform, wrap, what) -> None:
    hidden = wrap(transform(what(Linear(jnp.ones(2)))))
    with pytest.warns(UserWarning, match=r"(?s)Possibly assigning a JAX-transformed.*`Linear`"):
        Holder(hidden)


class Formula(Module):
    r"""Its docstring has braces, as in $k = 1/\sqrt{n}$: `jax.vmap` cannot format it."""

    weight: jax.Array

    def __call__(self, x):
        return self.weight * x


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad, jax.hessian])
def test_transformed_module_with_braces_in_its_docstring_warns(transform) -> None:
    with pytest.warns(UserWarning, match=r"(?s)Possibly assigning a JAX-transformed.*`Formula`"):
        Holder(transform(Formula(jnp.ones(2))))


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad, jax.checkpoint])
def test_transformed_function_as_a_field_does_not_warn(transform) -> None:
    Holder(transform(lambda x: x))


def test_a_partial_that_hides_nothing_does_not_warn() -> None:
    Holder(functools.partial(jnp.add, jnp.ones(2)))
    Holder(functools.partial(lambda module, x: x, Holder(jnp.tanh)))
    Holder(jax.tree_util.Partial(Linear(jnp.ones(2))))
