"""All that `filter_jit` can wrap: functions, methods, callable trees; and the names of wrappers."""

import abc
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module, Partial

X = jnp.arange(3.0)


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


def test_kinds_of_callables():
    def f(x: Any, y: Any = 2.0) -> Any:
        return x * y

    doubled = [
        ft.filter_jit(f),
        ft.filter_jit()(f),
        ft.filter_jit(donate="none")(f),
        ft.filter_jit(functools.partial(f, y=2.0)),
        ft.filter_jit(jax.tree_util.Partial(f, y=2.0)),
        ft.filter_jit(Partial(f, y=jnp.array(2.0))),
        ft.filter_jit(Scale(jnp.full(3, 2.0))),
        ft.filter_jit(Scale(jnp.full(3, 2.0)).__call__),
        ft.filter_jit(ft.filter_jit(f)),
        ft.filter_jit(jax.jit(lambda x: x * 2)),
        ft.filter_jit(jax.vmap(f)),
        ft.filter_jit(ft.filter_vmap(f)),
    ]
    for g in doubled:
        for _ in range(2):
            np.testing.assert_array_equal(g(X), 2 * X)
    assert ft.filter_jit(max)(1, 2) == 2


def test_arrays_of_a_callable_are_traced():
    out = ft.filter_jit(Partial(lambda w, x: isinstance(w, jax.core.Tracer), X))(X)
    assert out is True


def test_methods():
    class M(Module):
        w: jax.Array

        @ft.filter_jit
        def method(self, x: jax.Array) -> jax.Array:
            "Scales."
            return self.w * x

        @ft.filter_jit
        def __call__(self, x: jax.Array) -> jax.Array:
            return self.w * x

        @classmethod
        @ft.filter_jit
        def of_class(cls, x: jax.Array) -> tuple[jax.Array, type]:
            return x, cls

        @ft.filter_jit
        @classmethod
        def of_class_inside(cls, x: jax.Array) -> tuple[jax.Array, type]:
            return x, cls

        @staticmethod
        @ft.filter_jit
        def static(x: jax.Array) -> jax.Array:
            return x

        @ft.filter_jit
        @staticmethod
        def static_inside(x: jax.Array) -> jax.Array:
            return x

        @property
        @ft.filter_jit
        def prop(self) -> jax.Array:
            return self.w * 2

    m = M(X)
    for y in (m.method(X), M.method(m, X), m(X), m.method(x=X), jax.jit(m.method)(X)):
        np.testing.assert_array_equal(y, X * X)
    for owner in (m, M):
        assert owner.of_class(X)[1] is owner.of_class_inside(X)[1] is M
        assert bool((owner.static(X) == owner.static_inside(X)).all())
    np.testing.assert_array_equal(m.prop, 2 * X)
    assert m.method.__name__ == "method" and m.method.__doc__ == "Scales."
    assert str(inspect.signature(m.method)).startswith("(x")
    assert jax.tree.leaves(m.method)[1] is m.w
    np.testing.assert_array_equal(ft.filter_jit(lambda f, x: f(x))(m.method, X), X * X)


def test_abstract_methods_stay_abstract():
    class Abstract(Module):
        @ft.filter_jit
        @abc.abstractmethod
        def f(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()


def documented(x: int, *, y: float = 2) -> None:
    "Some text."


@pytest.mark.parametrize("transform", [ft.filter_jit, ft.filter_grad, ft.filter_vmap])
def test_wrappers_are_named_as_what_they_wrap(transform: Callable[..., Any]):
    f = transform(documented)
    assert f.__name__ == f.__qualname__ == "documented" and f.__doc__ == "Some text."
    assert f.__module__ == __name__ and f.__wrapped__ is documented
    assert inspect.signature(f) == inspect.signature(documented)
    assert isinstance(f, Module) and f == transform(documented) and "documented" in repr(f)
    assert functools.wraps(f)(lambda: None).__name__ == "documented"
    # as an argument of another transformation
    ft.filter_jit(lambda g: None)(f), jax.tree.map(lambda x: x, f)


# https://github.com/patrick-kidger/equinox/issues/206
# https://github.com/patrick-kidger/equinox/issues/377
@pytest.mark.parametrize("transform", [ft.filter_jit, ft.filter_grad, ft.filter_vmap])
def test_parameters_stay_visible_through_a_wrapper(transform: Callable[..., Any]):
    class Holder(Module):
        f: Any

    holder = Holder(transform(Scale(X)))
    assert any(leaf is holder.f.fun.weight for leaf in jax.tree.leaves(holder))
