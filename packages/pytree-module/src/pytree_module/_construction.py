"""Construction of a `Module` instance.

The order is the same for a generated and for a user's `__init__`:

1. `__init__` (and `__post_init__` of a generated one) sets the fields;
2. unset fields get their default, unless a subclass replaces the field by a class attribute; it is
   an error if there is no default;
3. each converter runs once;
4. the values are checked: no cycles, no arrays in static fields, no hidden parameters;
5. the instance is frozen;
6. every `__check_init__` of the MRO runs, the one of the class itself first.
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
"""The key in `__dict__` of an instance under construction, with the names of its fields.

Invariant: an instance is mutable exactly while `__dict__` has this key. `Module.__setattr__` reads
it.
"""


class ClassInfo:
    """The facts about one class that construction needs, computed at the first instance."""

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
        """The `ClassInfo` for an instance with `values`, which lack some of the fields."""
        info = ClassInfo(self.owner)
        info.dynamic = tuple(name for name in info.dynamic if name in values)
        info.static = tuple(name for name in info.static if name in values)
        info.annotated = {
            name: annotated for name, annotated in info.annotated.items() if name in values
        }
        info.converters = tuple(pair for pair in info.converters if pair[0] in values)
        return info

    def __reduce__(self) -> tuple[Any, ...]:
        # cloudpickle pickles the attributes of a class of `__main__`. `None` there makes
        # `class_info_of` compute this again.
        return type(None), ()


def _count_references(module: object) -> int:
    return sys.getrefcount(module)


def _count_fresh() -> int:
    module = object()
    return _count_references(module)


_REFERENCES = _count_fresh()
"""`sys.getrefcount`, in a function, of an argument that only its caller refers to.

It is measured, since CPython versions count differently. Invariant: an instance with no more
references than this is in no cycle. If the value were too high, `finish` would miss cycles, and
`test_cycles_are_refused_at_construction` would fail; too low, `finish` would only be slower.
"""


def refuse_abstract(cls: type, open_abstract: dict[str, str]) -> None:
    """Raises the `TypeError` for calling an abstract class."""
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
    """Whether a subclass replaces the field `name` of a base by a class attribute.

    Then an instance need not have a value of its own: reading the field gives the class attribute.
    """
    for base in cls.__mro__:
        if name in vars(base):
            return not (dataclasses.is_dataclass(base) and name in own_annotations(base))
    return False


def take_defaults(owner: Any, values: dict[str, Any], required: bool) -> None:
    """Set the default of each field of `owner` that `values` lacks.

    If `required`, a field without a default is an error. A field that a subclass replaces by a
    class attribute stays unset.
    """
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
    """Whether a user's `__new__` returned an instance that is initialised already."""
    return len(info.names) > 0 and module.__dict__.keys() >= info.names


def finish(info: ClassInfo, module: Any, values: dict[str, Any]) -> None:
    """Steps 2 to 6 of the module docstring, for a `module` whose `__dict__` is `values`."""
    if not values.keys() >= info.names:
        take_defaults(info.owner, values, required=True)
        # Still incomplete: a subclass replaces a field by a class attribute. There is no value to
        # convert or to check, so the loops below must skip this field.
        if not values.keys() >= info.names:
            info = info.with_fields_set(values)
    # Converters first: the checks below must see the final values of the fields.
    for name, converter in info.converters:
        values[name] = converter(values[name])
    # For most values the type alone tells that there is nothing to warn about: one look-up.
    for name in info.dynamic:
        value = values[name]
        if not is_plain_dynamic(value):
            warn_of_hidden(info.owner, name, value)
    # Arrays never compare exactly, so that this also finds arrays in static fields.
    for name, annotated in info.annotated.items():
        value = values[name]
        if not compares_exactly(value, annotated):
            _set_box(info, name, values)
            warn_of_static(info.owner, name, value)
    # If only the caller and this function refer to the instance, its own fields do not. Further
    # references may come from a cycle, on which every tree function recurses without end.
    if sys.getrefcount(module) > _REFERENCES:
        find_cycle(info.owner, module, values)
    # The instance is frozen from here on: `__check_init__` must not change what was checked.
    del values[UNDER_CONSTRUCTION]
    for check_init in info.check_inits:
        check_init(module)


def _set_box(info: ClassInfo, name: str, values: dict[str, Any]) -> None:
    # Flattening puts the box into the treedef in place of the value. Without it, treedefs of
    # different values could be equal (0.0 and -0.0), and `jax.jit` would run the wrong program.
    box = comparison_box(info.owner, name, values[name], info.annotated[name])
    if box is not None:
        boxes: dict[str, ByValue] = values.setdefault(BOXES, {})
        boxes[name] = box
        expect_irregular(info.owner)


def class_info_of(cls: Any) -> ClassInfo:
    """The `ClassInfo` of a class, made when it is first asked for."""
    info: ClassInfo | None = cls.__info__
    if info is None or info.owner is not cls:
        info = ClassInfo(cls)
        type.__setattr__(cls, "__info__", info)
    return info


def finish_from_fields(module: Any, required: bool) -> None:
    """Complete an instance whose fields were set without its constructor.

    Runs steps 2 and 5 of the module docstring, and of step 4 the check for arrays in static fields.
    There are no warnings.

    - `required`: whether a field without a value and without a default is an error.
    """
    info, values = class_info_of(type(module)), module.__dict__
    values.pop(UNDER_CONSTRUCTION, None)
    values.pop(BOXES, None)  # they may belong to former values
    if not values.keys() >= info.names:
        take_defaults(info.owner, values, required)
    for name, annotated in info.annotated.items():
        if name in values and not compares_exactly(values[name], annotated):
            _set_box(info, name, values)
    # Entries beside the fields: the generated `flatten` must look for them, or it would drop them.
    if any(name in values and name not in info.names for name in WRAPPER_NAMES):
        expect_irregular(info.owner)


def replaced(module: Any, fields: dict[str, Any]) -> Any:
    """A copy of `module` with other values for some fields, checked as in a new instance."""
    info = class_info_of(type(module))
    new = with_values(type(module), module, fields)
    for name, value in fields.items():
        if name in info.dynamic and not is_plain_dynamic(value):
            warn_of_hidden(info.owner, name, value)
        if name in info.annotated and not compares_exactly(value, info.annotated[name]):
            warn_of_static(info.owner, name, value)
    return new


def with_values(cls: Any, like: Any, fields: dict[str, Any]) -> Any:
    """An instance of `cls` with these fields; the remaining fields are those of `like`."""
    info = class_info_of(cls)
    new = bare_instance(cls)
    if like is not None:
        # Not the whole `__dict__`: values of `functools.cached_property` may depend on old fields.
        kept = (*info.dynamic, *info.static, *WRAPPER_NAMES)
        new.__dict__.update((k, v) for k, v in vars(like).items() if k in kept)
    new.__dict__.update(fields)
    finish_from_fields(new, required=True)
    return new
