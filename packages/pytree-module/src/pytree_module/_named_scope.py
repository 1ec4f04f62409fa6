"""Each call of a module is a named scope, so that profiles and compiled programs read by layer."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jax


def scope_of(name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> str | None:
    """The name of the scope of the calls of a class whose body does not say `__scope__`.

    That of the class; none for what only wraps another function, and for subclasses of a class
    that has none.
    """
    wraps = "__wrapped__" in namespace or any(hasattr(base, "__wrapped__") for base in bases)
    return None if wraps or any(getattr(b, "__scope__", "") is None for b in bases) else name


def in_scope(call: FunctionType) -> FunctionType:
    """`call`, the `__call__` of a class, in a named scope: `__scope__` of the class of `self`.

    A scope is part of the metadata of what is traced in it; a program costs nothing more for it.
    """

    @functools.wraps(call)
    def scoped_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = getattr(self, "__scope__", None)  # `Layer.__call__` takes what is like a layer
        if scope is None:
            return _call(self, *args, **kwargs)
        with jax.named_scope(scope):
            return _call(self, *args, **kwargs)

    _call: Callable[..., Any] = call
    scoped: Any = scoped_call
    scoped.__unscoped__ = call  # for tools that put a scope of their own in its place
    return scoped
