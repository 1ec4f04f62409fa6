"""Each call of a module is a named scope, and the program is otherwise the same."""

import inspect
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from pytree_module import Module, Partial, module_update_wrapper


class Scale(Module):
    factor: float

    def __call__(self, x: jax.Array, *, shift: float = 0.0) -> jax.Array:
        """Scales."""
        return x * self.factor + shift


class Doubled(Scale):
    pass


class Twice(Module):
    first: Scale
    second: Scale

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(jnp.sin(self.first(x)), shift=1.0)


class Named(Scale):
    __scope__ = "my scale"


class Silent(Scale):
    __scope__ = None


class Wrapper(Module):
    fn: Any

    @property
    def __wrapped__(self) -> Any:
        return self.fn

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


X = jnp.arange(3.0)


@pytest.fixture(autouse=True)
def _scopes_are_kept() -> Iterator[None]:
    """By default a program on disk has the scopes of the first that was equal but for them."""
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    yield
    jax.config.update("jax_compilation_cache_include_metadata_in_key", False)


def names(f: Any) -> set[str]:
    """The scopes of the operations of a compiled program, less those of the transformations."""
    text = jax.jit(f).lower(X).compile().as_text()
    found = re.findall(r'op_name="jit\([^)]*\)/([^"]*)"', text)
    return {name.rpartition("/")[0] for name in found}


def without_metadata(f: Any) -> str:
    text = re.sub(r", metadata=\{[^}]*\}", "", jax.jit(f).lower(X).compile().as_text())
    text = text.partition("\nFileNames")[0]  # JAX 0.12 lists the frames at the end
    return re.sub(r"jit_\w+", "jit", text)


def test_the_scopes_are_the_classes():
    assert names(lambda x: Twice(Scale(2.0), Doubled(3.0))(x)) == {
        "Twice",
        "Twice/Scale",
        "Twice/Doubled",
    }


def test_a_class_says_its_own():
    assert names(lambda x: Named(2.0)(x)) == {"my scale"}
    assert names(lambda x: Silent(2.0)(x)) == {""}


@pytest.mark.parametrize("wrap", [Partial, lambda f: module_update_wrapper(Wrapper(f))])
def test_what_wraps_adds_none(wrap: Any):
    assert names(lambda x: wrap(Scale(2.0))(x)) == {"Scale"}


def test_through_transformations():
    program = jax.grad(lambda x: jax.vmap(Twice(Scale(2.0), Scale(3.0)))(x).sum())
    assert any("Scale" in name for name in names(program))


def test_it_is_the_same_program():
    def by_hand(x: jax.Array) -> jax.Array:
        return jnp.sin(x * 2.0 + 0.0) * 3.0 + 1.0

    module = without_metadata(lambda x: Twice(Scale(2.0), Doubled(3.0))(x))
    assert module == without_metadata(by_hand) and "Scale" not in module


def test_a_call_is_what_was_written():
    call = Scale.__call__
    assert call.__name__ == "__call__" and call.__qualname__ == "Scale.__call__"
    assert call.__doc__ == "Scales." and list(inspect.signature(call).parameters) == [
        "self",
        "x",
        "shift",
    ]
    assert call(SimpleNamespace(factor=2.0), 3.0) == 6.0  # type: ignore[arg-type]
    assert Scale(2.0)(3.0, shift=1.0) == 7.0  # type: ignore[arg-type]


def test_a_call_set_later_and_super():
    class Child(Scale):
        def __call__(self, x: jax.Array, **kwargs: Any) -> jax.Array:
            return super().__call__(x, **kwargs) + 1

    assert names(lambda x: Child(2.0)(x)) == {"Child", "Child/Child"}
    Child.__call__ = lambda self, x: x * 5  # type: ignore[method-assign,assignment,misc]
    assert names(lambda x: Child(2.0)(x)) == {"Child"} and Child(1.0)(2.0) == 10.0  # type: ignore[arg-type]
