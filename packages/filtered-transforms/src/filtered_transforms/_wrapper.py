"""What all wrapped functions share: they are modules, methods, and named as what they wrap."""

import inspect
from collections.abc import Callable
from typing import Any

from pytree_module import BoundMethod, Module, field


class _AnnotationsOfFunction(dict[str, Any]):
    """The annotations of a class of wrappers; of an instance, those of its function.

    Python looks `__annotations__` of an instance up on its class, and finds this.
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance.fun, "__annotations__", {})


class _DocOfFunction:
    """The docstring of a class of wrappers; of an instance, that of its function."""

    def __init__(self, doc: str | None):
        self.doc = doc

    def __get__(self, instance: Any, owner: type | None = None) -> str | None:
        return self.doc if instance is None else instance.fun.__doc__


# What Python keeps of a function beside its name, docstring, annotations and `__dict__`.
_OF_FUNCTION = frozenset({"__name__", "__qualname__", "__defaults__", "__kwdefaults__"})


class Wrapper(Module):
    """A transformed function: a module, a method where it stands in a class, named as the function.

    The function, or any callable PyTree, is a child of the tree: its parameters stay visible. Its
    name, docstring and signature are read from it when they are asked for. Only `__module__` is
    stored: every class has one of its own, which Python would find first.
    """

    fun: Any
    __module__: str = field(static=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        type.__setattr__(cls, "__doc__", _DocOfFunction(cls.__dict__.get("__doc__")))
        own = _AnnotationsOfFunction(inspect.get_annotations(cls))
        type.__setattr__(cls, "__annotations__", own)

    @property
    def __wrapped__(self) -> Any:
        return self.fun

    @property
    def __isabstractmethod__(self) -> bool:
        return getattr(self.fun, "__isabstractmethod__", False)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_FUNCTION:
            return getattr(self.fun, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        bound: Any = BoundMethod  # declared to take a function; any callable will do
        return bound(self, instance)


type.__setattr__(Wrapper, "__doc__", _DocOfFunction(Wrapper.__doc__))


def module_of(fun: Any) -> str:
    """The module in which `fun` was written."""
    return str(getattr(fun, "__module__", None) or "builtins")


def decorate(wrap: Callable[[Any], Any], fun: Any, name: str) -> Any:
    """`wrap(fun)`, inside the `classmethod` or `staticmethod` if `fun` is one.

    **Raises:** `TypeError` naming the transformation, `name`.
    """
    if isinstance(fun, (classmethod, staticmethod)):
        return type(fun)(wrap(fun.__func__))
    if not callable(fun):
        raise TypeError(
            f"`{name}` expects a function, got a {type(fun).__name__}, which is not a callable "
            f"object: {fun!r}."
        )
    return wrap(fun)
