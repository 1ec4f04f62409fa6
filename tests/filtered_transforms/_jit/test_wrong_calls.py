"""Calls and options that `filter_jit` refuses."""

from typing import Any

import jax
import jax.numpy as jnp
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


@ft.filter_jit
def identity(x: Any) -> Any:
    return x, isinstance(x, jax.core.Tracer)


def test_unhashable_static_leaf_is_named():
    for error in (TypeError, ValueError):
        with pytest.raises(error, match=r"set at args\[0\]\['a'\]\[1\]"):
            identity({"a": [X, {1}]})
    with pytest.raises(TypeError, match=r"set at kwargs\['x'\]\.name"):
        identity(x=Scale(X, {1}))
    with pytest.raises(TypeError, match="set at the function itself"):
        ft.filter_jit(Partial(lambda s: s, {1}))()


def test_wrong_arguments():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        identity()
    with pytest.raises(TypeError, match="expects a function, got a int"):
        ft.filter_jit(3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        ft.filter_jit(len, foo=True)
    for name in ("static_argnums", "static_argnames", "donate_argnums"):
        with pytest.raises(ValueError, match=name):
            ft.filter_jit(len, **{name: 0})
    with pytest.raises(ZeroDivisionError):
        ft.filter_jit(lambda x: 1 // 0)(X)
    assert identity(X)[1]  # still works


# https://github.com/patrick-kidger/equinox/commit/14234c9
def test_options_of_jax_jit():
    options = {"xla_cpu_enable_fast_math": True}
    f = ft.filter_jit(lambda x, s: (x + 1, s), compiler_options=options, keep_unused=True)
    assert f(X, "s")[1] == "s"
    assert f == ft.filter_jit(f.fun, keep_unused=True, compiler_options=dict(options))
