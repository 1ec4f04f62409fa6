"""Each call of a module is a named scope, so that profiles and compiled programs read by layer."""

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jax


def scope_of(name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> str | None:
    """The default `__scope__` of a class: the scope of its calls.

    It is the name of the class. It is `None` for classes that only wrap another function, and for
    subclasses of a class whose scope is `None`.
    """
    wraps = "__wrapped__" in namespace or any(hasattr(base, "__wrapped__") for base in bases)
    return None if wraps or any(getattr(b, "__scope__", "") is None for b in bases) else name


def in_scope(call: FunctionType) -> FunctionType:
    """`call`, the `__call__` of a class, in a named scope: `__scope__` of the class of `self`.

    A scope is metadata of the traced equations, and costs nothing at run time.
    """

    @functools.wraps(call)
    def scoped_call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = getattr(self, "__scope__", None)  # `self` may be of another class
        if scope is None:
            return _call(self, *args, **kwargs)
        with jax.named_scope(scope):
            return _call(self, *args, **kwargs)

    _call: Callable[..., Any] = call
    scoped: Any = scoped_call
    scoped.__unscoped__ = call  # for tools that use their own scope instead
    return scoped
