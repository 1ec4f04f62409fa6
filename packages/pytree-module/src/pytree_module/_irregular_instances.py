"""Flattening of instances that hold more, or less, than their fields.

There are four cases:

- A method is called in `__init__` before every field is set.
- `module_update_wrapper` has added a name and a docstring.
- A static field holds a value that `==` does not compare exactly (`_value_equality`).
- Something else, such as `functools.cached_property`, has put a value into `__dict__`. It is not
  part of the tree: flattening drops it.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._bare_instance import bare_instance
from ._value_equality import ByValue

WRAPPER_NAMES = functools.WRAPPER_ASSIGNMENTS
"""The attributes that `module_update_wrapper` sets beside the fields, and flattening keeps."""

BOXES = "<static fields hold what == does not tell apart>"
"""The key in `__dict__` for the boxes of static fields whose values `==` does not distinguish: for
each such field the `ByValue` by which it is compared."""


class Irregular(NamedTuple):
    """The static data of an instance that does not hold exactly its fields."""

    dynamic: tuple[str, ...]
    types: tuple[type, ...]  # before the values: comparing values of different types may raise
    static: tuple[tuple[str, Any], ...]
    boxed: tuple[str, ...]
    extra: tuple[tuple[str, Any], ...]


def flatten_irregular(
    module: Any,
    dynamic: tuple[str, ...],
    static: dict[str, type | None],
    keys: tuple[Any, ...] | None,
) -> tuple[tuple[Any, ...], Any]:
    """As the generated `flatten` (or `flatten_with_keys`), for every instance.

    **Arguments:**

    - `module`: the instance.
    - `dynamic`: the names of its dynamic fields.
    - `static`: its static fields, with the types that their annotations determine.
    - `keys`: the keys of the dynamic fields, or `None` without keys.
    """
    values: dict[str, Any] = module.__dict__
    # List comprehensions: for so few elements, a generator is slower.
    found = tuple([name for name in dynamic if name in values])
    if keys is None:
        children = tuple([values[name] for name in found])
    else:
        children = tuple([(keys[dynamic.index(name)], values[name]) for name in found])
    return children, _static_part(values, dynamic, found, static)


def _static_part(
    values: dict[str, Any],
    dynamic: tuple[str, ...],
    found: tuple[str, ...],
    static: dict[str, type | None],
) -> Any:
    """The static data of an instance that has the dynamic fields `found`.

    For an instance that holds exactly its fields it equals the static data of the generated code:
    treedefs of equal instances are equal, whichever way they were flattened.
    """
    boxes: dict[str, ByValue] = values.get(BOXES, {})
    extra = _wrapper_attributes(values, static)
    names = [name for name in static if name in values]
    kept = [values[name] for name in names]
    types = [type(values[name]) for name in names if static[name] is None]
    is_whole = len(found) == len(dynamic) and len(kept) == len(static)
    if is_whole and not extra and not boxes:
        return (*types, *kept)
    kept = [boxes.get(name, value) for name, value in zip(names, kept, strict=True)]
    return Irregular(found, tuple(types), tuple(zip(names, kept, strict=True)), tuple(boxes), extra)


def _wrapper_attributes(
    values: dict[str, Any], static: dict[str, type | None]
) -> tuple[tuple[str, Any], ...]:
    """The names and values that `module_update_wrapper` has added to an instance."""
    if values.keys().isdisjoint(WRAPPER_NAMES):
        return ()
    names = [name for name in WRAPPER_NAMES if name in values and name not in static]
    return tuple([(name, values[name]) for name in names])


def unflatten_irregular(cls: type, aux: Irregular, children: Iterable[Any]) -> Any:
    """The inverse of `flatten_irregular`."""
    module = bare_instance(cls)
    values = module.__dict__
    values.update(zip(aux.dynamic, children, strict=True))
    values.update(aux.static)
    if aux.boxed:
        boxes = {name: values[name] for name in aux.boxed}
        values.update((name, box.value) for name, box in boxes.items())
        values[BOXES] = boxes
    values.update(aux.extra)
    return module
