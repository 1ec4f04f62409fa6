"""Methods that, read from an instance, are PyTrees: the function static, the instance a child."""

import dataclasses
import functools
import inspect
import reprlib
from collections.abc import Callable
from types import (
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import Any, NoReturn

import jax.tree_util as jtu
import wadler_lindig as wl

import tree_surgery
from tree_surgery.extend import public

from ._named_scope import in_scope
from ._value_equality import same_tree, value_hash


class _ModuleOfFunction(str):
    """The `__module__` of a class of bound methods; for an instance, the module of its function.

    A plain attribute would give the module of the class for instances, too. For the class it is a
    string, the path set by `public`, which is looked up in `sys.modules`. It is pickled as a plain
    string.
    """

    path: str

    def __new__(cls, path: str) -> "_ModuleOfFunction":
        self = super().__new__(cls, path)
        self.path = path
        return self

    def __eq__(self, other: object) -> bool:
        return self.path == other

    def __ne__(self, other: object) -> bool:
        return self.path != other

    def __hash__(self) -> int:
        return hash(self.path)

    def __get__(self, instance: Any, owner: type | None = None) -> str:
        return str(self) if instance is None else instance.func.__module__

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


class _OnInstances(property):
    """A property of instances only: `inspect` treats a `__wrapped__` of a class as a function."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            raise AttributeError(f"type object {owner!r} has no such attribute")
        return super().__get__(instance, owner)


class _DocOfFunction:
    """The `__doc__` of a class of bound methods; for an instance, the one of its function.

    A `property` would do for instances, but the docstring of the class would be that property.
    """

    def __init__(self, doc: str | None):
        self.doc = doc

    def __get__(self, instance: Any, owner: type | None = None) -> str | None:
        return self.doc if instance is None else instance.func.__doc__


def _show_functions(cls: type) -> None:
    """Makes instances of `cls` show the module and the docstring of their function.

    The class itself keeps its own.
    """
    line = vars(cls).get("__firstlineno__")
    doc = cls.__dict__.get("__doc__")
    if not isinstance(doc, _DocOfFunction):
        type.__setattr__(cls, "__doc__", _DocOfFunction(doc))
    type.__setattr__(cls, "__module__", _ModuleOfFunction(cls.__module__))
    if line is not None:  # Python 3.13 drops it with a new `__module__`, and `inspect` needs it
        type.__setattr__(cls, "__firstlineno__", line)


@public
class BoundMethod(functools.partial[Any]):
    """The value of `module.method`: the class's function with the instance as first argument.

    **Arguments:**

    - `func`: the function.
    - `instance`: the module; the only child of the tree, so that a method goes through JAX
        transformations with its parameters traced. The function is static.

    Building and calling one costs what a `functools.partial` costs, which it is. Two are equal if
    they bind the same function to equal instances. That is always a `bool` (tracers are
    compared by identity), and every bound method has a hash: JAX finds `jax.jit(module.method)` in
    its caches.

    `__name__`, `__qualname__`, `__module__`, `__doc__`, `__annotations__` and the signature are
    those of the function.

    !!! example

        ```python
        import jax
        from pytree_module import BoundMethod, Module

        class Scale(Module):
            factor: float

            def apply(self, x):
                return self.factor * x

        method = Scale(2.0).apply
        assert isinstance(method, BoundMethod) and method(3.0) == 6.0
        assert jax.tree.leaves(method) == [2.0]
        ```
    """

    def __init_subclass__(cls) -> None:
        _show_functions(cls)

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Callable[..., Any]:
        return self.func

    @_OnInstances
    def __wrapped__(self) -> MethodType:
        return MethodType(self.func, self.args[0])

    def __getattr__(self, name: str) -> Any:
        # `__name__`, `__qualname__`, `__annotations__`, and attributes that decorators set.
        return getattr(self.func, name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise dataclasses.FrozenInstanceError(
            f"cannot assign to field {name!r}: a bound method of a module is as immutable as that."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(
            f"cannot delete field {name!r}: a bound method of a module is as immutable as that."
        )

    def __get__(self, instance: object, owner: type | None = None) -> "BoundMethod":
        # Already bound: as an attribute of another class it is a plain value.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundMethod, (self.func, self.args[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.func == other.func and same_tree(self.args[0], other.args[0])

    def __hash__(self) -> int:
        return hash((self.func, value_hash(self.args[0])))

    @reprlib.recursive_repr("<recursive>")  # A static field or a function may lead back here.
    def __repr__(self) -> str:
        return tree_surgery.tree_pformat(self)

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        # How wadler-lindig, and with it `tree_pformat`, prints it within a larger tree.
        parts = wl.named_objs([("__func__", self.func), ("__self__", self.args[0])], **kwargs)
        return wl.bracketed(
            begin=wl.TextDoc("BoundMethod("),
            docs=parts,
            sep=wl.comma,
            end=wl.TextDoc(")"),
            indent=kwargs["indent"],
        )


_show_functions(BoundMethod)

_SELF_KEY = jtu.GetAttrKey("__self__")

jtu.register_pytree_with_keys(
    BoundMethod,
    lambda method: (((_SELF_KEY, method.args[0]),), method.func),
    lambda func, children: BoundMethod(func, *children),
    lambda method: (method.args, method.func),
)


class Method:
    """The descriptor that replaces each function in the body of a `Module` class."""

    __slots__ = ("__dict__", "func")

    def __init__(self, func: Callable[..., Any]):
        self.func = func
        self.__doc__ = func.__doc__
        self.__module__ = getattr(func, "__module__", __name__)  # A descriptor may have none.

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.func if instance is None else BoundMethod(self.func, instance)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.func

    @property
    def __name__(self) -> str:
        return self.func.__name__

    @property
    def __isabstractmethod__(self) -> bool:
        return self.func.__isabstractmethod__  # pyright: ignore[reportFunctionMemberAccess]  (some)

    def __reduce__(self) -> tuple[Any, ...]:
        return Method, (self.func,)


class ForeignMethod(Method):
    """As `Method`, for values that are not functions but may become methods when read: what
    `jax.jit` and `functools.lru_cache` return, and descriptors of other libraries.
    """

    __slots__ = ()

    func: Any

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        value = self.func.__get__(instance, owner)
        return value if instance is None else as_bound(value, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    @property
    def __isabstractmethod__(self) -> bool:
        return getattr(self.func, "__isabstractmethod__", False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ForeignMethod, (self.func,)


def as_bound(value: Any, instance: Any) -> Any:
    """`value`, just read from `instance`; a Python method bound to `instance` becomes a PyTree."""
    if type(value) is MethodType and value.__self__ is instance:
        return BoundMethod(value.__func__, instance)
    return value


# Descriptors that never return a method bound to the instance.
_NO_METHODS = (
    Method,
    BoundMethod,
    MethodType,
    classmethod,
    staticmethod,
    functools.cached_property,
    functools.partialmethod,
    functools.singledispatchmethod,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    WrapperDescriptorType,
)


def _may_give_methods(value: object) -> bool:
    if isinstance(value, _NO_METHODS) or hasattr(type(value), "__open_abstract__"):  # A Module.
        return False
    return hasattr(type(value), "__get__") and not inspect.isdatadescriptor(value)


def is_dunder(name: str) -> bool:
    """Whether Python looks `name` up on the type and calls it itself.

    Not `__call__`, which users also read as a value.
    """
    return name.startswith("__") and name.endswith("__") and name != "__call__"


def as_method(name: str, value: Any, scope: str | None) -> Method | None:
    """The `Method` for `value`, the attribute `name` of a class body; `None` if it stays as it is.

    `__call__` is in a named scope, unless its class has none.
    """
    if is_dunder(name):
        return None
    if not isinstance(value, FunctionType):
        return ForeignMethod(value) if _may_give_methods(value) else None
    if name == "__call__" and scope is not None:
        return Method(in_scope(value))
    return Method(value)
