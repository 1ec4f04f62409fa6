"""A transformed function tells what the function tells: names, documents, annotations, defaults."""

import functools
import inspect
import pydoc
import typing
from collections.abc import Callable
from typing import Any

import jax
import pytest

import filtered_transforms as ft
from pytree_module import Module

TRANSFORMATIONS: dict[str, Callable[..., Any]] = {
    "filter_jit": ft.filter_jit,
    "filter_jit(donate)": ft.filter_jit(donate="all"),
    "filter_grad": ft.filter_grad,
    "filter_value_and_grad": ft.filter_value_and_grad,
    "filter_vmap": ft.filter_vmap,
    "filter_pmap": ft.filter_pmap,
    "filter_checkpoint": ft.filter_checkpoint,
    "filter_jacfwd": ft.filter_jacfwd,
    "filter_jacrev": ft.filter_jacrev,
    "filter_hessian": ft.filter_hessian,
    "filter_custom_jvp": ft.filter_custom_jvp,
    "filter_custom_vjp": ft.filter_custom_vjp,
    "filter_make_jaxpr": ft.filter_make_jaxpr,
}
NAMES = (
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__annotations__",
    "__defaults__",
    "__kwdefaults__",
)


def function(x: "jax.Array", power: int = 3, *, scale: float = 1.0) -> "jax.Array":
    """What it does."""
    return (scale * x**power).sum()


# As if it were written in another file, which no class of ours can be mistaken for.
function.__module__ = "json.decoder"
everywhere = pytest.mark.parametrize("way", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS.keys())


def tells(wrapped: Any, plain: Any) -> None:
    for name in NAMES:
        assert getattr(wrapped, name) == getattr(plain, name), name
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert typing.get_type_hints(wrapped) == typing.get_type_hints(plain)
    assert inspect.getdoc(wrapped) == inspect.getdoc(plain)
    assert functools.wraps(wrapped)(lambda: None).__module__ == plain.__module__


@everywhere
def test_of_a_function(way: Callable[..., Any]):
    wrapped = way(function)
    assert wrapped.__wrapped__ is function
    tells(wrapped, function)


@everywhere
def test_of_a_transformed_function(way: Callable[..., Any]):
    tells(way(ft.filter_jit(function)), function)


@everywhere
def test_as_a_method(way: Callable[..., Any]):
    class Layer(Module):
        width: int
        plain = function
        wrapped = way(function)

    class Plain:
        plain = function
        wrapped = way(function)

    for instance in (Layer(1), Plain()):
        tells(instance.wrapped, instance.plain)
        tells(type(instance).wrapped, type(instance).plain)
        method = inspect.unwrap(type(instance).wrapped)
        assert method is function
    tells(way(Layer(1).plain), Layer(1).plain)


@everywhere
def test_of_a_callable_module(way: Callable[..., Any]):
    class Layer(Module):
        width: int

        def __call__(self, x: jax.Array, power: int = 2) -> jax.Array:
            """What the layer does."""
            return x

    assert inspect.signature(way(Layer(1))) == inspect.signature(Layer(1))
    assert way(Layer(1)).__doc__ == Layer.__doc__


def test_classes_of_wrappers_keep_their_own_annotations():
    # `dataclasses` and `inspect` read them.
    assert "registry" in inspect.get_annotations(type(ft.filter_jit(function)))
    assert "fun" not in ft.filter_jit(function).__annotations__


def test_the_classes_of_wrappers_have_documents_of_their_own():
    for wrapped in (ft.filter_jit(function), ft.filter_vmap(function), ft.filter_grad(function)):
        document = type(wrapped).__doc__
        assert document is None or isinstance(document, str)
        assert wrapped.__doc__ == inspect.getdoc(wrapped) == function.__doc__
        assert pydoc.render_doc(type(wrapped))
    assert "compiled" in str(type(ft.filter_jit(function)).__doc__)
