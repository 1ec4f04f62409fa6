"""No public parameter or result is a bare `Any`, except those that `tests/typing/any.toml` lists.

What is not annotated is `Any` too.
"""

import importlib.util
import inspect
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, cast, overload

import pytest

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests/typing/any.toml"
DISTRIBUTIONS = [
    "tree_surgery",
    "pytree_module",
    "filtered_transforms",
    "runtime_checks",
    "nn_layers",
    "equinoctial",
]

PUBLIC = ("debug", "extend", "internal", "nn")  # modules of a distribution, where it has them
ANY = (Any, "Any")  # also as it stands under `from __future__ import annotations`
SELF = ("self", "cls", "mcs")
CONSTRUCTED = ("return", "__init__")


def public_modules(name: str) -> list[str]:
    inner = (f"{name}.{part}" for part in PUBLIC)
    return [name, *(module for module in inner if importlib.util.find_spec(module))]


def bare(function: FunctionType) -> Iterator[str]:
    """The parameters of a function that are `Any`, and `return` for its result."""
    generated = function.__code__.co_filename == "<string>"  # by `dataclasses`
    # Overloads are kept by the module in which they are written, not by that where they are public.
    written = SimpleNamespace(
        __module__=function.__globals__["__name__"], __qualname__=function.__qualname__
    )
    for variant in typing.get_overloads(cast(Any, written)) or [function]:
        try:
            hints = typing.get_type_hints(variant)
        except NameError:  # of what is imported for type checkers only
            hints = variant.__annotations__
        names = [*inspect.signature(variant).parameters, "return"]
        names = names[1:] if names[0] in SELF else names
        for name in names:
            # A constructor is of its class, whatever it says.
            absent = None if generated or (name, function.__name__) == CONSTRUCTED else Any
            if hints.get(name, absent) in ANY:
                yield name


def functions(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """The public methods and properties of a class, also those that it has of private bases."""
    seen: set[str] = set()
    for base in kind.__mro__:
        if base is not kind and not is_private_base(kind, base):
            continue
        for name, member in vars(base).items():
            if name in seen or (name.startswith("_") and not name.endswith("__")):
                continue
            seen.add(name)
            for part in ("fget", "func", "__func__", "__wrapped__"):
                member = getattr(member, part, None) or member
            if isinstance(member, FunctionType) and is_ours(member):
                yield name, member


def is_private_base(kind: type, base: type) -> bool:
    root = kind.__module__.partition(".")[0]
    return base.__module__.startswith(f"{root}.") and "._" in base.__module__


def is_ours(function: FunctionType) -> bool:
    file = function.__code__.co_filename
    return (
        file == "<string>" or any(f"/{name}/" in file for name in DISTRIBUTIONS) or file == __file__
    )


def found(modules: list[str] | list[ModuleType]) -> set[str]:
    """Every `Any` of the public names of modules, as `module.name.parameter`."""
    result: set[str] = set()
    for module in modules:
        module = importlib.import_module(module) if isinstance(module, str) else module
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, ModuleType) or module.__name__ != home(value, module):
                continue
            path = f"{module.__name__}.{name}"
            unwrapped = inspect.unwrap(value)
            if isinstance(unwrapped, FunctionType):
                result.update(f"{path}.{parameter}" for parameter in bare(unwrapped))
                continue
            kind = value if isinstance(value, type) else type(value)
            for method, function in functions(kind):
                result.update(f"{path}.{method}.{parameter}" for parameter in bare(function))
    return result


def home(value: Any, module: ModuleType) -> str:
    """The module that a public object is of; what is re-exported is held where it is from."""
    owner = str(getattr(value, "__module__", module.__name__))
    root = module.__name__.partition(".")[0]
    return owner if owner.partition(".")[0] != root else module.__name__


def listed() -> dict[str, str]:
    return tomllib.loads(LIST.read_text())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_each_any_is_listed_with_its_reason(name: str):
    there = found(public_modules(name))
    known = {entry for entry in listed() if entry.partition(".")[0] == name}
    assert not there - known, "say a type, or list these with a reason"
    assert not known - there, "these are gone: drop them from the list"


def test_reasons_are_sentences_and_names_those_of_the_distributions():
    for entry, reason in listed().items():
        assert entry.partition(".")[0] in DISTRIBUTIONS, entry
        assert len(reason.split()) >= 4, entry


class _Base:
    def inherited(self, x: Any) -> int:
        return 0


class _Public(_Base):
    def __init__(self, x: Any, y: int):
        self.x = x

    @property
    def computed(self) -> Any: ...

    @staticmethod
    def static(x: "Any") -> list[Any]: ...

    @classmethod
    def made(cls, x) -> int: ...  # not annotated

    def fine(self, x: object, *args: int, **kwargs: int) -> None: ...

    def _private(self, x: Any) -> Any: ...


@overload
def _overloaded(x: int, y: int) -> int: ...
@overload
def _overloaded(x: str, y: Any) -> str: ...
def _overloaded(x: Any, y: Any) -> Any: ...


def _plain(x: Any, *args: Any, y: "Any" = 3, **kwargs: list[Any]) -> Any: ...


def test_every_kind_of_any_is_found():
    # A module that is made up, so that it is known what has to be found in it.
    _Base.__module__ = "made_up._base"
    for made in (_Public, _overloaded, _plain):
        made.__module__ = "made_up"
    names: Any = SimpleNamespace(
        __name__="made_up",
        __all__=["Public", "instance", "overloaded", "plain"],
        Public=_Public,
        instance=_Public(1, 2),
        overloaded=_overloaded,
        plain=_plain,
    )
    of_class = {"__init__.x", "computed.return", "static.x", "made.x", "inherited.x"}
    expected = {f"made_up.{name}.{x}" for name in ("Public", "instance") for x in of_class}
    expected |= {f"made_up.plain.{x}" for x in ("x", "args", "y", "return")}
    assert found([names]) == expected | {"made_up.overloaded.y"}
