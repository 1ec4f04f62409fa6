"""Instances that hold more, or less, than their fields.

Flattening meets them in four cases: a method is called in `__init__` before every field is set,
`module_update_wrapper` has added a name and a docstring, a static field holds a NumPy array, or
something (`functools.cached_property`) has put a value of its own into `__dict__`. The last is not
part of the tree, and is left behind.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax.tree_util as jtu

from ._by_value import ByValue

WRAPPER_NAMES = functools.WRAPPER_ASSIGNMENTS
"""What `module_update_wrapper` sets beside the fields, and flattening keeps."""

BY_VALUE = "<static fields hold arrays>"
"""Stands in `__dict__` of an instance whose static values must be compared by value."""


@dataclasses.dataclass(frozen=True, slots=True)
class Irregular:
    """The static part of an instance that does not hold exactly its fields."""

    dynamic: tuple[str, ...]
    static: tuple[tuple[str, Any], ...]
    extra: tuple[tuple[str, Any], ...]
    by_value: bool


def is_irregular(values: dict[str, Any]) -> bool:
    """Whether the `__dict__` of an instance holds what flattening keeps beside the fields."""
    return BY_VALUE in values or any(name in values for name in WRAPPER_NAMES)


def flatten_irregular(module: Any, with_keys: bool = False) -> tuple[tuple[Any, ...], Irregular]:
    """As the generated `flatten` (or `flatten_with_keys`), whatever the instance holds."""
    values: dict[str, Any] = module.__dict__
    by_value = BY_VALUE in values
    dynamic: list[str] = []
    static: list[tuple[str, Any]] = []
    for field in dataclasses.fields(module):
        if field.name not in values:
            continue
        if not field.metadata.get("static", False):
            dynamic.append(field.name)
        elif by_value:
            static.append((field.name, ByValue(values[field.name])))
        else:
            static.append((field.name, values[field.name]))
    extra = tuple((name, values[name]) for name in WRAPPER_NAMES if name in values)
    if with_keys:
        children = tuple((jtu.GetAttrKey(name), values[name]) for name in dynamic)
    else:
        children = tuple(values[name] for name in dynamic)
    return children, Irregular(tuple(dynamic), tuple(static), extra, by_value)


def unflatten_irregular(cls: type, aux: Irregular, children: Iterable[Any]) -> Any:
    """The inverse of `flatten_irregular`."""
    module = object.__new__(cls)
    values = module.__dict__
    values.update(zip(aux.dynamic, children, strict=True))
    if aux.by_value:
        values.update((name, box.value) for name, box in aux.static)
        values[BY_VALUE] = True
    else:
        values.update(aux.static)
    values.update(aux.extra)
    return module
