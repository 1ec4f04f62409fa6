"""A copy of a tree of modules in which each call knows the path of its module."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from pytree_module import BoundMethod, Module, module_from_fields

# `wrap(path, call)` returns the function that replaces `call`, the `__call__` of the module there.
Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]


def instrument(tree: Any, wrap: Wrap, paths: list[str] | None = None) -> Any:
    """A copy of `tree` in which each call of a module is in a named scope, its path.

    Each module becomes an instance of a subclass of its class, made for this place: so its call is
    known through `jit`, `vmap` and `scan`, and nothing is changed for other instances. `paths`
    receives the paths.
    """
    return _copy(tree, "", wrap, [] if paths is None else paths)


def _copy(node: Any, path: str, wrap: Wrap, paths: list[str]) -> Any:
    if isinstance(node, BoundMethod):
        return BoundMethod(node.func, _copy(node.args[0], path, wrap, paths))
    if isinstance(node, Module):
        return _module(node, path, wrap, paths)
    if isinstance(node, dict) and type(node) is dict:
        join = path + "." if path else ""
        return {k: _copy(v, _key(path, join, k), wrap, paths) for k, v in node.items()}
    if type(node) in (list, tuple):
        return type(node)(_copy(v, f"{path}[{i}]", wrap, paths) for i, v in enumerate(node))
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        values = zip(node._fields, node, strict=True)  # pyright: ignore[reportAttributeAccessIssue]
        return type(node)(*(_copy(v, f"{path}.{k}", wrap, paths) for k, v in values))
    return node


def _key(path: str, join: str, key: Any) -> str:
    return f"{join}{key}" if not path and isinstance(key, str) else f"{path}[{key!r}]"


def _module(node: Module, path: str, wrap: Wrap, paths: list[str]) -> Any:
    cls: Any = type(node)
    wrapper = hasattr(node, "__wrapped__")  # `filter_jit(model)` goes by the path of the model
    if callable(node) and not wrapper:
        paths.append(path or cls.__name__)
        cls = _subclass(cls, path or cls.__name__, wrap)
    join = path + "." if path else ""
    fields: Any = dataclasses.fields(node)
    values = {
        name: _copy(getattr(node, name), path if wrapper else join + name, wrap, paths)
        for name in (field.name for field in fields)
        if name in vars(node)
    }
    return module_from_fields(cls, node, **values)


def _subclass(cls: Any, path: str, wrap: Wrap) -> Any:
    call = wrap(path, getattr(cls.__call__, "__unscoped__", cls.__call__))

    @functools.wraps(call)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        return call(self, *args, **kwargs)

    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__call__": called}
    return type(cls)(cls.__name__, (cls,), {**names, "__scope__": path})
