"""`class Foo(Module, strict=StrictConfig())`: abstract classes are never instantiated, final
classes never subclassed, and nothing concrete is ever overridden.

The rules are those of the abstract-or-final pattern: there is one definition of each method, and
all fields are in the class of the constructor.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, overload

from tree_surgery.extend import public

from ._annotations import own_annotations

# Names that Python or this library looks up on each class separately, or runs for all classes. The
# last one holds the annotations of a class body since Python 3.14.
_EXEMPT = frozenset(
    {"__check_init__", "__init__", "__init_subclass__", "__class_getitem__", "__annotate_func__"}
)


@dataclasses.dataclass(frozen=True)
class StrictOption:
    """What `StrictConfig` returns."""

    force_abstract: bool


@overload
def StrictConfig(force_abstact: bool = False) -> StrictOption: ...
@overload
def StrictConfig(*, force_abstract: bool) -> StrictOption: ...
@public
def StrictConfig(force_abstact: bool = False, **kwargs: Any) -> StrictOption:
    """Options for `class Foo(Module, strict=StrictConfig(...))`.

    **Arguments:**

    - `force_abstact`, or spelled `force_abstract`: the class counts as abstract although it
        does not leave any method or attribute open.

    **Returns:**

    A value for the class keyword `strict`, which asks for the checks. (`strict=True` does not:
    libraries pass it and rely on its being ignored.)

    **Raises:** `TypeError` for any other keyword.
    """
    force = kwargs.pop("force_abstract", force_abstact)
    if kwargs:
        unknown = ", ".join(kwargs)
        raise TypeError(f"StrictConfig takes `force_abstract` alone; got also: {unknown}.")
    return StrictOption(bool(force))


def _overridden(cls: type, body: Mapping[str, Any], module_base: type) -> tuple[str, type] | None:
    """The first concrete method of a base that `cls` defines again, and that base."""
    annotated = own_annotations(cls)
    for name in dict.fromkeys((*body, *annotated)):
        value = body.get(name)
        is_code = callable(value) or hasattr(value, "__get__")
        if name in _EXEMPT or not (is_code or name in annotated):
            continue
        for base in cls.__mro__[1:]:
            if base is module_base:
                break
            old = base.__dict__.get(name)
            if old is None or not (callable(old) or hasattr(old, "__get__")):
                continue
            if not getattr(old, "__isabstractmethod__", False):
                return name, base
            break
    return None


def _brings_data(cls: type) -> bool:
    """Whether the body of `cls` defines fields or an `__init__` of its own."""
    own = own_annotations(cls)
    own_init = "__init__" in cls.__dict__ and not cls.__dict__["__dataclass_params__"].init
    return own_init or any(field.name in own for field in dataclasses.fields(cls))


def _check_bases(cls: type, name: str, module_base: type) -> None:
    for base in cls.__bases__:
        if base is module_base or not issubclass(base, module_base):
            continue
        strict = base.__dict__.get("__strict__")
        if strict is None:
            raise TypeError(
                f"Strict module `{name}` inherits from `{base.__qualname__}`, which is not "
                f"strict. Define `{base.__qualname__}` with `strict=StrictConfig()` too."
            )
        if strict == "final":
            raise TypeError(
                f"Strict module `{name}` inherits from `{base.__qualname__}`, which is concrete "
                f"and therefore final. Inherit from an abstract class, and hold a "
                f"`{base.__qualname__}` as a field where its code is needed."
            )


def _check_name(cls: type, name: str, force_abstract: bool, open_names: list[str]) -> bool:
    abstract = force_abstract or len(open_names) > 0
    says_abstract = cls.__name__.startswith(("Abstract", "_Abstract"))
    if abstract and not says_abstract:
        reason = f"leaves {', '.join(open_names)} open" if open_names else "is forced abstract"
        raise TypeError(
            f"Strict module `{name}` is abstract, since it {reason}, but its name does not begin "
            f"with `Abstract` or `_Abstract`. Implement what is open, or rename the class."
        )
    if says_abstract and not abstract:
        raise TypeError(
            f"Strict module `{name}` is called abstract but leaves no method and no attribute "
            f"open. Rename it, or pass `strict=StrictConfig(force_abstract=True)`."
        )
    return abstract


def check_strict(
    cls: type,
    body: Mapping[str, Any],
    config: StrictOption,
    open_names: list[str],
    module_base: type,
) -> str:
    """Check `cls` with its class `body` against the rules; `open_names` are its abstract names.

    **Returns:** `"abstract"` or `"final"`: what the class is.

    **Raises:** `TypeError` naming the class and the attribute.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    _check_bases(cls, name, module_base)
    abstract = _check_name(cls, name, config.force_abstract, open_names)
    overridden = _overridden(cls, body, module_base)
    if overridden is not None:
        attribute, base = overridden
        raise TypeError(
            f"Strict module `{name}` overrides `{attribute}`, which is concrete in "
            f"`{base.__qualname__}`. Only abstract methods may be overridden."
        )
    if _brings_data(cls):
        for base in cls.__mro__[1:]:
            if base is not module_base and issubclass(base, module_base) and _brings_data(base):
                raise TypeError(
                    f"Strict module `{name}` defines fields or an `__init__`, and so does its "
                    f"base `{base.__qualname__}`. Define all of them in one class."
                )
    return "abstract" if abstract else "final"


def strict_config(strict: bool | StrictOption) -> StrictOption | None:
    """The options of the class keyword `strict`; `None` for no checks."""
    return strict if isinstance(strict, StrictOption) else None
