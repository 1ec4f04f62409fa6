"""Instances that hold more, or less, than their fields.

Flattening meets them in four cases: a method is called in `__init__` before every field is set,
`module_update_wrapper` has added a name and a docstring, a static field holds what `==` does not
tell apart (`_by_value`), or something (`functools.cached_property`) has put a value of its own into
`__dict__`. The last is not part of the tree, and is left behind.
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._bare_instance import bare_instance
from ._value_equality import ByValue

WRAPPER_NAMES = functools.WRAPPER_ASSIGNMENTS
"""What `module_update_wrapper` sets beside the fields, and flattening keeps."""

BY_VALUE = "<static fields hold what == does not tell apart>"
"""In `__dict__` of an instance: by name, the boxes by which some static values are compared."""


class Irregular(NamedTuple):
    """The static part of an instance that does not hold exactly its fields."""

    dynamic: tuple[str, ...]
    types: tuple[type, ...]  # before the values: those of two types may not be comparable
    static: tuple[tuple[str, Any], ...]
    boxed: tuple[str, ...]
    extra: tuple[tuple[str, Any], ...]


def flatten_irregular(
    module: Any,
    dynamic: tuple[str, ...],
    static: dict[str, type | None],
    keys: tuple[Any, ...] | None,
) -> tuple[tuple[Any, ...], Any]:
    """As the generated `flatten` (or `flatten_with_keys`), whatever the instance holds.

    **Arguments:**

    - `module`: the instance.
    - `dynamic`: the names of its dynamic fields.
    - `static`: its static fields, with the types that their annotations say.
    - `keys`: the keys of the dynamic fields, or `None` without keys.
    """
    values: dict[str, Any] = module.__dict__
    boxes: dict[str, ByValue] = values.get(BY_VALUE, {})
    extra: tuple[tuple[str, Any], ...] = ()
    if not values.keys().isdisjoint(WRAPPER_NAMES):
        names = [name for name in WRAPPER_NAMES if name in values and name not in static]
        extra = tuple([(name, values[name]) for name in names])
    # Lists, of which tuples are made: a generator takes longer than all that it yields here.
    found = tuple([name for name in dynamic if name in values])
    children = tuple([values[name] for name in found])
    if keys is not None:
        children = tuple([(keys[dynamic.index(name)], values[name]) for name in found])
    names = [name for name in static if name in values]
    kept = [values[name] for name in names]
    types = [type(values[name]) for name in names if static[name] is None]
    whole = len(found) == len(dynamic) and len(kept) == len(static)
    if whole and not extra and not boxes:
        return children, (*types, *kept)
    kept = [boxes.get(name, value) for name, value in zip(names, kept, strict=True)]
    parts = tuple(zip(names, kept, strict=True))
    return children, Irregular(found, tuple(types), parts, tuple(boxes), extra)


def unflatten_irregular(cls: type, aux: Irregular, children: Iterable[Any]) -> Any:
    """The inverse of `flatten_irregular`."""
    module = bare_instance(cls)
    values = module.__dict__
    values.update(zip(aux.dynamic, children, strict=True))
    values.update(aux.static)
    if aux.boxed:
        boxes = {name: values[name] for name in aux.boxed}
        values.update((name, box.value) for name, box in boxes.items())
        values[BY_VALUE] = boxes
    values.update(aux.extra)
    return module
