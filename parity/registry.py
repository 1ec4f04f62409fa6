"""Programs: small functions of a namespace, each registered with the public names it exercises.

    @program("tree_at")
    def replaces_a_leaf(eqx):
        return eqx.tree_at(lambda t: t[0], [1, 2], 3)

    short("is_array", of_an_int=lambda eqx: eqx.is_array(1))

A name is written as after `eqx.`: `tree_at`, `nn.Linear`, `internal.scan`. What a program returns,
prints, warns of or raises is compared (see `observe.py`).
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Program:
    name: str
    names: tuple[str, ...]
    function: Function


PROGRAMS: dict[str, Program] = {}


def add(name: str, names: tuple[str, ...], function: Function) -> None:
    if name in PROGRAMS:
        raise ValueError(f"there are two programs of the name {name}")
    PROGRAMS[name] = Program(name, names, function)


def program(*names: str) -> Callable[[Function], Function]:
    """Registers a function as `<file>.<function>`, a program that exercises the given names."""

    def register(function: Function) -> Function:
        add(f"{function.__module__.rpartition('.')[2]}.{function.__name__}", names, function)
        return function

    return register


def short(*names: str, **functions: Function) -> None:
    """Registers several, each `<file>.<first name>.<keyword>`."""
    for key, function in functions.items():
        add(f"{function.__module__.rpartition('.')[2]}.{names[0]}.{key}", names, function)


def load() -> dict[str, Program]:
    """All programs, of every file of the folder `programs`."""
    for found in pkgutil.iter_modules([str(Path(__file__).parent / "programs")]):
        importlib.import_module(f"programs.{found.name}")
    return PROGRAMS


class Namespace:
    """A namespace that remembers which of its names are taken."""

    def __init__(self, module: Any, prefix: str = "", taken: set[str] | None = None):
        self.__module, self.__prefix = module, prefix
        self.taken: set[str] = set() if taken is None else taken

    def __getattr__(self, name: str) -> Any:
        if not self.__prefix and name in ("nn", "internal", "debug"):
            module = importlib.import_module(f"{self.__module.__name__}.{name}")
            return Namespace(module, f"{name}.", self.taken)
        self.taken.add(self.__prefix + name)
        return getattr(self.__module, name)
