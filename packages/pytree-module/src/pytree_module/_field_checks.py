"""Checks of the values of fields at construction."""

import functools
from collections.abc import Iterator
from types import FunctionType, MethodType, NoneType
from typing import Any, cast

import jax
import jax.tree_util as jtu
import numpy as np

from tree_surgery import path_str

from ._bound_method import BoundMethod
from ._user_frames import warn_user
from ._value_equality import ByKey, ByValue, needs_key


class _PlainTypes(set[type]):
    """Types whose values cannot be functions that hide the parameters of a module.

    Written and read by the checks of construction. A type is added at its first value, and never
    removed. Only types of arrays and `Module` classes are added: these are few, and JAX keeps every
    node class for ever anyway.
    """


_PLAIN_DYNAMIC = _PlainTypes(
    (bool, int, float, complex, str, bytes, NoneType, np.ndarray, np.dtype, BoundMethod)
)


def is_module(value: object) -> bool:
    """Whether `value` is an instance of a `Module` class."""
    return hasattr(type(value), "__open_abstract__")


def is_plain_dynamic(value: Any) -> bool:
    """Whether `warn_of_hidden` cannot find anything in `value`, judged by its type alone."""
    return type(value) in _PLAIN_DYNAMIC


_HIDDEN = """
Possibly assigning a JAX-transformed callable as an attribute on {owner}: the field `{name}`. This \
will not have any of its parameters updated: the function hides the parameters of `{hidden}` from \
the tree, so they count as constants, not as leaves.

Store the module itself, and transform it where it is called:
```python
class MyModule(Module):
    linear: Linear

    def __call__(self, x):
        return jax.vmap(self.linear)(x)
```
or use a transformation whose result is a PyTree, such as `filter_vmap` or `filter_jit`, and \
`Partial` for `functools.partial`."""


def _wrapped(value: Any) -> Any:
    """The function that `value` wraps; else `None`.

    JAX formats the docstring of the function into that of the result. If the docstring contains
    braces, as in formulas, this fails before JAX sets `__wrapped__`. Then the wrapped function is
    the closure variable `fun`.
    """
    inner = getattr(value, "__wrapped__", None)
    if inner is not None or not isinstance(value, FunctionType):
        return inner
    if not str(value.__globals__.get("__name__")).startswith("jax."):
        return None
    closure = value.__closure__ or ()
    cells = dict(zip(value.__code__.co_freevars, closure, strict=True))
    return cells["fun"].cell_contents if "fun" in cells else None


def _hidden_module(value: Any) -> Any:
    """The module that a function wraps or binds, hidden from JAX; else `None`."""
    seen = 0
    while callable(value) and not isinstance(value, type):
        if isinstance(value, (BoundMethod, MethodType)):
            value = value.__self__
        if is_module(value):
            return value if seen > 0 else None
        if type(value) is functools.partial:  # `jax.tree_util.Partial` hides nothing
            value = cast(Any, value)
            for bound in (*value.args, *value.keywords.values()):
                if is_module(bound) and any(
                    isinstance(x, jax.Array) for x in jtu.tree_leaves(bound)
                ):
                    return bound
            value = value.func
        else:
            value = _wrapped(value)
        seen += 1
        if seen > 100:  # A function that wraps itself.
            return None
    return None


def warn_of_hidden(owner: type, name: str, value: Any) -> None:
    """Warns if `value` holds a transformed function that hides the parameters of a module."""
    for hidden in _hidden_modules(value):
        qualified = f"{owner.__module__}.{owner.__qualname__}"
        message = _HIDDEN.format(owner=qualified, name=name, hidden=type(hidden).__qualname__)
        warn_user(message)


def _hidden_modules(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, dict)):
        for element in value.values() if isinstance(value, dict) else value:
            if type(element) not in _PLAIN_DYNAMIC:
                yield from _hidden_modules(element)
    elif is_module(value) or isinstance(value, (jax.Array, np.generic)):
        _PLAIN_DYNAMIC.add(type(value))
    elif callable(value):
        hidden = _hidden_module(value)
        if hidden is not None:
            yield hidden


def dotted_path(cls: type, path: tuple[Any, ...]) -> str:
    """A key path below an instance of `cls`, as a user would write it: `Linear.weight[0]`."""
    text = path_str(path)
    return cls.__qualname__ + (text if text.startswith("[") else f".{text}")


def comparison_box(owner: type, name: str, value: Any, annotated: type | None) -> ByValue | None:
    """The box by which a static value is compared, if `==` does not suffice; refuses JAX arrays.

    **Raises:** `TypeError` naming the path of the array.
    """
    arrays = False
    for path, leaf in _static_leaves(value):
        if isinstance(leaf, jax.Array):
            raise TypeError(
                f"A JAX array is being set as static! {_named(owner, name, path, leaf)}, in a "
                f"field with `static=True`. Static values are part of the tree's structure and are "
                f"compared and hashed; arrays have to be leaves. Drop `static=True`; to keep the "
                f"array fixed in training, use `jax.lax.stop_gradient` or partition it out."
            )
        arrays = arrays or isinstance(leaf, np.ndarray)
    if arrays:
        return ByValue(value)
    return ByKey(value) if needs_key(value, annotated) and _has_hash(value) else None


def _named(owner: type, name: str, path: tuple[Any, ...], leaf: Any) -> str:
    where = dotted_path(owner, (jtu.GetAttrKey(name), *path))
    return f"`{where}` is a {leaf.dtype}{list(leaf.shape)}"


def warn_of_static(owner: type, name: str, value: Any) -> None:
    """Warns of NumPy arrays in a static field, and of unhashable values."""
    found = False
    for path, leaf in _static_leaves(value):
        if isinstance(leaf, (np.ndarray, np.generic)):
            found = True
            warn_user(
                f"A NumPy array is being set as static! {_named(owner, name, path, leaf)}. It is "
                f"compared by value at each call of a jitted function and compiled in as a "
                f"constant. Use Python numbers or tuples (`.item()`, `.tolist()`), or drop "
                f"`static=True`."
            )
    # A tuple cannot be changed by mistake; libraries put flattened trees there, lists and all.
    if not found and not isinstance(value, tuple) and not _has_hash(value):
        warn_user(
            f"`{dotted_path(owner, (jtu.GetAttrKey(name),))}` is a {type(value).__name__}, in a "
            f"field with `static=True`. It has no hash, and may change without `jax.jit` noticing, "
            f"which then goes on with what it has compiled. Use a tuple for a list, a frozenset "
            f"for a set, a tuple of pairs for a dictionary, or drop `static=True`."
        )


def _static_leaves(value: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves of a static value with their paths.

    If the value is not a PyTree, such as a dictionary whose keys have no order, it is one leaf.
    """
    try:
        return jtu.tree_leaves_with_path(value)
    except (TypeError, ValueError):
        return [((), value)]


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


_METHOD_CYCLE = """\
Cannot assign methods in __init__. `{owner}.{name}` was given a method bound to the very instance \
under construction, as in
```python
class MyModule(Module):
    foo: Callable

    def __init__(self):
        self.foo = self.bar

    def bar(self):
        ...
```
A bound method holds its instance, so `self.foo` would lead back to `self`: a cycle, and no tree. \
Define a method `foo` that calls `self.bar`, or store the plain function `type(self).bar`."""

_CYCLE = """\
`{owner}.{name}` holds the very instance under construction: a cycle, and no tree. A module cannot \
contain itself; pass what is needed of it as an argument instead."""


def refuse_cycle(owner: type, name: str, through_method: bool) -> None:
    """Raises the `ValueError` for an instance whose field `name` leads back to the instance."""
    message = _METHOD_CYCLE if through_method else _CYCLE
    raise ValueError(message.format(owner=owner.__qualname__, name=name))


def find_cycle(owner: type, module: Any, values: dict[str, Any]) -> None:
    """Raises if a field among `values` leads back to `module`."""
    through_method = False

    def is_cycle(node: Any) -> bool:
        nonlocal through_method
        if type(node) is BoundMethod and node.__self__ is module:
            through_method = True
            return True
        return node is module

    for name, value in values.items():
        try:
            leaves = jtu.tree_leaves(value, is_leaf=is_cycle)
        except (TypeError, ValueError):
            continue  # a static value that is not a PyTree
        for leaf in leaves:
            if leaf is module or (type(leaf) is BoundMethod and leaf.__self__ is module):
                refuse_cycle(owner, name, through_method)
