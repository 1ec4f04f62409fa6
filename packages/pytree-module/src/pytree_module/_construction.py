"""How an instance of a `Module` comes to be, once `__init__` has run.

The order is fixed, for generated and own `__init__` alike:

1. `__init__` (and `__post_init__` of a generated one) sets the fields;
2. fields that it left unset take their default, unless a subclass has a class attribute in their
   place; one without a default is an error;
3. each converter runs once;
4. the values are checked: no cycle, no array in a static field, no hidden parameters;
5. the instance is frozen;
6. every `__check_init__` of the MRO runs, that of the class itself first.
"""

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any

from ._annotations import own_annotations
from ._bare_instance import bare_instance
from ._field_checks import (
    comparison_box,
    find_cycle,
    is_plain_dynamic,
    warn_of_hidden,
    warn_of_static,
)
from ._field_names import annotated_types, field_names, is_computed
from ._flatten_codegen import expect_irregular
from ._irregular_instances import BOXES, WRAPPER_NAMES
from ._value_equality import ByValue, compares_exactly

UNDER_CONSTRUCTION = "<under construction>"
"""While this stands in `__dict__`, with the names of the fields, they may be assigned."""


class ClassInfo:
    """What construction needs to know of one class, found once, at the first instance."""

    __slots__ = (
        "annotated",
        "check_inits",
        "converters",
        "dynamic",
        "is_abstract",
        "names",
        "open_abstract",
        "owner",
        "plain_new",
        "static",
    )

    owner: Any
    dynamic: tuple[str, ...]
    static: tuple[str, ...]
    annotated: dict[str, type[Any] | None]
    names: frozenset[str]
    is_abstract: bool
    plain_new: bool

    def __init__(self, owner: Any):
        self.owner = owner
        fields = dataclasses.fields(owner)
        self.dynamic, self.static = field_names(owner)
        self.annotated = annotated_types(owner)
        self.names = frozenset((*self.dynamic, *self.static))
        self.converters: tuple[tuple[str, Callable[[Any], Any]], ...] = tuple(
            (field.name, field.metadata["converter"])
            for field in fields
            if field.metadata.get("converter") is not None and field.name in self.names
        )
        self.check_inits: tuple[Callable[[Any], Any], ...] = tuple(
            base.__dict__["__check_init__"]
            for base in owner.__mro__
            if "__check_init__" in base.__dict__
        )
        self.open_abstract: dict[str, str] = owner.__open_abstract__
        self.is_abstract = (
            len(self.open_abstract) > 0 or owner.__dict__.get("__strict__") == "abstract"
        )
        self.plain_new = owner.__new__ is object.__new__

    def with_fields_set(self, values: dict[str, Any]) -> "ClassInfo":
        """What holds for an instance that has `values`, fewer than the class has fields."""
        info = ClassInfo(self.owner)
        info.dynamic = tuple(name for name in info.dynamic if name in values)
        info.static = tuple(name for name in info.static if name in values)
        info.annotated = {
            name: annotated for name, annotated in info.annotated.items() if name in values
        }
        info.converters = tuple(pair for pair in info.converters if pair[0] in values)
        return info

    def __reduce__(self) -> tuple[Any, ...]:
        # cloudpickle sends the attributes of a class of `__main__`; this one is found again there.
        return type(None), ()


def _count_references(module: object) -> int:
    return sys.getrefcount(module)


def _count_fresh() -> int:
    module = object()
    return _count_references(module)


_REFERENCES = _count_fresh()
"""What `sys.getrefcount` says, in a function, of an object that only its caller holds.

CPython's versions count differently, so that it is measured. Where a count is too high, `finish`
only takes longer; were it too low, `test_cycles_are_refused_at_construction` would fail.
"""


def refuse_abstract(cls: type, open_abstract: dict[str, str]) -> None:
    """Raises the `TypeError` of an abstract class that is called."""
    if not open_abstract:
        if inspect.isabstract(cls):
            return  # `object.__new__` names the methods.
        raise TypeError(
            f"Can't instantiate abstract class {cls.__name__}, defined with "
            f"`strict=StrictConfig(force_abstract=True)`. Subclass it."
        )
    kinds: dict[str, list[str]] = {}
    for attribute, kind in open_abstract.items():
        kinds.setdefault(kind, []).append(attribute)
    what = " and ".join(
        f"abstract {kind}s {{{', '.join(map(repr, names))}}}" for kind, names in kinds.items()
    )
    raise TypeError(
        f"Can't instantiate abstract class {cls.__name__} with {what}. Define them in a subclass."
    )


def _is_class_attribute(cls: type, name: str) -> bool:
    """Whether the class has a value in the place of a field of a base, which is not its default.

    Then an instance on which `__init__` leaves the field unset has nothing of its own to hold.
    """
    for base in cls.__mro__:
        if name in vars(base):
            return not (dataclasses.is_dataclass(base) and name in own_annotations(base))
    return False


def take_defaults(owner: Any, values: dict[str, Any], required: bool) -> None:
    """Gives each field of `owner` that `values` lacks its default; without one it is an error, if
    `required`. Not one in whose place a subclass has a class attribute: that stays there."""
    for field in dataclasses.fields(owner):
        if field.name in values or is_computed(owner, field):
            continue
        if _is_class_attribute(owner, field.name):
            continue
        if field.default is not dataclasses.MISSING:
            values[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        elif required:
            raise TypeError(
                f"Field '{field.name}' was not initialized. `{owner.__qualname__}.__init__` "
                f"must set `self.{field.name}`, or the field must have a default."
            )


def is_initialised(info: ClassInfo, module: Any) -> bool:
    """Whether an own `__new__` has returned an instance that was initialised before."""
    return len(info.names) > 0 and module.__dict__.keys() >= info.names


def finish(info: ClassInfo, module: Any, values: dict[str, Any]) -> None:
    """Steps 2 to 6 of the module docstring, for a `module` whose `__dict__` is `values`."""
    if not values.keys() >= info.names:
        take_defaults(info.owner, values, required=True)
        if not values.keys() >= info.names:
            info = info.with_fields_set(values)
    # Converters first: what the checks below see is what the fields will hold.
    for name, converter in info.converters:
        values[name] = converter(values[name])
    for name in info.dynamic:
        value = values[name]
        if not is_plain_dynamic(value):
            warn_of_hidden(info.owner, name, value)
    for name, annotated in info.annotated.items():
        value = values[name]
        if not compares_exactly(value, annotated):
            _set_box(info, name, values)
            warn_of_static(info.owner, name, value)
    # An instance that only the caller and this function refer to cannot be reached from its own
    # fields. More references may mean a cycle: look for it.
    if sys.getrefcount(module) > _REFERENCES:
        find_cycle(info.owner, module, values)
    # Before `__check_init__`, which meets a frozen instance.
    del values[UNDER_CONSTRUCTION]
    for check_init in info.check_inits:
        check_init(module)


def _set_box(info: ClassInfo, name: str, values: dict[str, Any]) -> None:
    box = comparison_box(info.owner, name, values[name], info.annotated[name])
    if box is not None:
        boxes: dict[str, ByValue] = values.setdefault(BOXES, {})
        boxes[name] = box
        expect_irregular(info.owner)


def info_of(cls: Any) -> ClassInfo:
    """The `ClassInfo` of a class, made when it is first asked for."""
    info: ClassInfo | None = cls.__info__
    if info is None or info.owner is not cls:
        info = ClassInfo(cls)
        type.__setattr__(cls, "__info__", info)
    return info


def finish_from_fields(module: Any, required: bool) -> None:
    """Makes an instance whose fields were set in another way than by its class all that one is
    which was made by it: steps 2, 4 and 5 of the module docstring, without the warnings.

    - `required`: whether a field without a value and without a default is an error.
    """
    info, values = info_of(type(module)), module.__dict__
    values.pop(UNDER_CONSTRUCTION, None)
    values.pop(BOXES, None)
    if not values.keys() >= info.names:
        take_defaults(info.owner, values, required)
    for name, annotated in info.annotated.items():
        if name in values and not compares_exactly(values[name], annotated):
            _set_box(info, name, values)
    if any(name in values and name not in info.names for name in WRAPPER_NAMES):
        expect_irregular(info.owner)


def replaced(module: Any, fields: dict[str, Any]) -> Any:
    """A copy of `module` with other values in some fields, which are checked as in a new one."""
    info = info_of(type(module))
    new = with_values(type(module), module, fields)
    for name, value in fields.items():
        if name in info.dynamic and not is_plain_dynamic(value):
            warn_of_hidden(info.owner, name, value)
        if name in info.annotated and not compares_exactly(value, info.annotated[name]):
            warn_of_static(info.owner, name, value)
    return new


def with_values(cls: Any, like: Any, fields: dict[str, Any]) -> Any:
    """An instance of `cls` with these fields and, where there are none, those of `like`."""
    info = info_of(cls)
    new = bare_instance(cls)
    if like is not None:
        kept = (*info.dynamic, *info.static, *WRAPPER_NAMES)
        new.__dict__.update((k, v) for k, v in vars(like).items() if k in kept)
    new.__dict__.update(fields)
    finish_from_fields(new, required=True)
    return new
