"""Abstract attributes: attributes that a base class requires of its subclasses.

`AbstractVar` and `AbstractClassVar` are annotations. The attributes that a class leaves open are
computed once, when the class is created.
"""

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_origin

from tree_surgery.extend import public

from ._annotations import own_annotations

__all__ = ["AbstractClassVar", "AbstractVar"]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from typing import Annotated
    from typing import ClassVar as AbstractClassVar

    AbstractVar = Annotated[_T, "AbstractVar"]
else:

    @public
    class AbstractVar(Generic[_T]):
        """Marks an instance attribute that every concrete subclass must provide.

        A class with an open `AbstractVar` cannot be instantiated. A subclass closes it with a
        field, a property, or a class attribute of that name. The annotation makes no field of its
        own, so it does not appear in the constructor.

        !!! example

            ```python
            from pytree_module import AbstractVar, Module

            class AbstractShape(Module):
                sides: AbstractVar[int]

            class Triangle(AbstractShape):
                @property
                def sides(self) -> int:
                    return 3

            assert Triangle().sides == 3
            ```
        """

    @public
    class AbstractClassVar(Generic[_T]):
        """Marks a class attribute that every concrete subclass must provide.

        As `AbstractVar`, but meant to be closed by a value on the class: `name = value`,
        `name: ClassVar[T] = value`, or a field with that name.

        !!! example

            ```python
            from typing import ClassVar

            from pytree_module import AbstractClassVar, Module

            class AbstractSolver(Module):
                order: AbstractClassVar[int]

            class Euler(AbstractSolver):
                order: ClassVar[int] = 1

            assert Euler.order == 1
            ```
        """


# `x: "mod.AbstractVar[int]"`, and every annotation under `from __future__ import annotations`.
_STRING = re.compile(r"\s*((?:\w+\s*\.\s*)*\w+)\s*(?:\[|$)")


def _origin(annotation: Any, module: str) -> Any:
    """The type before the brackets of an annotation; a string is looked up by name."""
    if not isinstance(annotation, str):
        return get_origin(annotation) or annotation
    match = _STRING.match(annotation)
    if match is None or "Abstract" not in annotation:
        return None
    head, *attributes = (name.strip() for name in match.group(1).split("."))
    found = getattr(sys.modules.get(module), head, None)
    for name in attributes:
        found = getattr(found, name, None)
    return found


def abstract_kind(annotation: Any, module: str) -> str | None:
    """`"attribute"` for `AbstractVar[...]`, `"class attribute"` for `AbstractClassVar[...]`."""
    origin = _origin(annotation, module)
    if origin is AbstractVar:
        return "attribute"
    if origin is AbstractClassVar:
        return "class attribute"
    return None


def own_abstract(
    name: str, module: str, annotations: Mapping[str, Any], namespace: Mapping[str, Any]
) -> dict[str, str]:
    """The abstract attributes that one class body declares: name to kind.

    **Raises:** `TypeError` if one of them is given a value in the same body, or no type.
    """
    own: dict[str, str] = {}
    for attribute, annotation in annotations.items():
        if annotation is AbstractVar or annotation is AbstractClassVar:
            raise TypeError(
                f"Cannot use unsubscripted `{annotation.__name__}`: say of which type "
                f"`{name}.{attribute}` is, as in `{annotation.__name__}[int]`."
            )
        kind = abstract_kind(annotation, module)
        if kind is None:
            continue
        if attribute in namespace:
            raise TypeError(
                f"Abstract {kind} {attribute} cannot have value: `{name}.{attribute}` is "
                f"annotated as abstract and set to {namespace[attribute]!r}. Leave the value to "
                f"the subclasses, or annotate it with its type alone."
            )
        own[attribute] = kind
    return own


def open_abstract(cls: type) -> dict[str, str]:
    """The abstract attributes that `cls` leaves open.

    The first class of the MRO that mentions a name decides whether it is abstract. An abstract
    attribute that a base requires as a class attribute stays a class attribute.
    """
    decided: dict[str, str | None] = {}
    for base in cls.__mro__:
        own: dict[str, str] = base.__dict__.get("__own_abstract__", {})
        for attribute, kind in own.items():
            if decided.setdefault(attribute, kind) is not None and kind == "class attribute":
                decided[attribute] = kind
        for attribute in (*base.__dict__, *own_annotations(base)):
            decided.setdefault(attribute, None)
    return {attribute: kind for attribute, kind in decided.items() if kind is not None}
