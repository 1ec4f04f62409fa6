"""The fields of a class, as its instances hold them."""

import dataclasses
import inspect
from typing import Any


def is_computed(cls: type, field: "dataclasses.Field[object]") -> bool:
    """Whether a subclass replaces a field of a base by a property without a setter."""
    found = inspect.getattr_static(cls, field.name, None)
    return isinstance(found, property) and found is not field.default and found.fset is None


def field_names(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the dynamic fields and of the static fields, each in order of definition.

    Not fields that a subclass replaces by a property: instances have no value for them.
    """
    dynamic: list[str] = []
    static: list[str] = []
    for field in dataclasses.fields(cls):
        if is_computed(cls, field):
            continue
        (static if field.metadata.get("static", False) else dynamic).append(field.name)
    return tuple(dynamic), tuple(static)


_PLAIN_TYPES: dict[object, type] = {
    **{kind: kind for kind in (bool, int, float, str)},
    **{kind.__name__: kind for kind in (bool, int, float, str)},
}


def annotated_types(cls: type) -> dict[str, type[Any] | None]:
    """The static fields of a class, with the annotated type if it is a plain one, else `None`.

    For a plain type, the static data need not contain the type of the value.
    """
    kinds: dict[str, object] = {field.name: field.type for field in dataclasses.fields(cls)}
    annotated: dict[str, type[Any] | None] = {}
    for name in field_names(cls)[1]:
        kind = kinds[name]
        annotated[name] = _PLAIN_TYPES.get(kind) if isinstance(kind, (type, str)) else None
    return annotated
