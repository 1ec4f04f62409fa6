"""The fields of a class, as its instances hold them."""

import dataclasses
import inspect
from typing import Any


def is_computed(cls: type, field: "dataclasses.Field[object]") -> bool:
    """Whether a property without a setter stands in the place of a field of a base."""
    found = inspect.getattr_static(cls, field.name, None)
    return isinstance(found, property) and found is not field.default and found.fset is None


def field_names(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the dynamic fields and of the static fields, each in order of definition.

    Not of one that a subclass computes by a property: an instance has nothing to hold there.
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
    """The static fields of a class, each with the type that it is annotated with, if that is a
    plain one: values of it need nothing beside them to say so."""
    kinds: dict[str, object] = {field.name: field.type for field in dataclasses.fields(cls)}
    annotated: dict[str, type[Any] | None] = {}
    for name in field_names(cls)[1]:
        kind = kinds[name]
        annotated[name] = _PLAIN_TYPES.get(kind) if isinstance(kind, (type, str)) else None
    return annotated
