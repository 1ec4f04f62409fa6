"""Names of a module that are loaded when they are first asked for (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from ._public import public

Lazy = tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]


@public("tree_surgery.extend")
def lazy_names(module: str, homes: Mapping[str, str]) -> Lazy:
    """The names that `module` gives, each from the module that defines it, imported on first use.

    `__all__, __getattr__, __dir__ = lazy_names(__name__, {...})` is all that a module needs.

    A name that has been asked for stands in the module from then on. Threads may ask at the same
    time: Python imports a module once, and all get the same object.

    **Arguments:**

    - `module`: the `__name__` of the module that gives the names.
    - `homes`: from a module, relative or absolute, to what stands after `import` in
        `from home import ...`: names with commas between them, `name as other`, or `*` for all of
        `home.__all__`. Only `*` imports the home at once. An empty text stands for the home
        itself, as in `import home`: its last name is given, and is not in `__all__`.

    **Returns:** The module's `__all__`, sorted, its `__getattr__` and its `__dir__`.
    """
    namespace = vars(sys.modules[module])
    package: str = namespace["__package__"]
    origins: dict[str, tuple[str, str]] = {}  # name -> home, its name there; "" is the home itself
    modules: list[str] = []
    for home, given in homes.items():
        if not given:
            modules.append(home.rpartition(".")[2])
            origins[modules[-1]] = home, ""
        for item in import_module(home, package).__all__ if given == "*" else given.split(","):
            name, _, other = item.strip().partition(" as ")
            if name:
                origins[other or name] = home, name
    public = sorted(origins.keys() - modules)

    def get(name: str) -> Any:
        try:
            home, there = origins[name]
        except KeyError:
            message = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules.get(module)) from None
        value = import_module(home, package)
        if there:
            value = getattr(value, there)
        namespace[name] = value
        return value

    def names() -> list[str]:
        return sorted({*namespace, *origins})

    return public, get, names


@public("tree_surgery.extend")
def moved_names(package: str, modules: str) -> None:
    """Modules that a package once had, for pickles that name what stood in them.

    Each becomes a module without a file. Asked for a name, it looks in `MOVED` of the package's
    `_moved.py`, which is imported then: from `"_old_module.name"` to `".home:name"`. Pickle finds
    the module in `sys.modules`; without it, an old file fails with `ModuleNotFoundError`.

    **Arguments:**

    - `package`: the `__name__` of the package.
    - `modules`: the last names of the modules, with spaces between them.
    """
    for old in modules.split():
        module = ModuleType(f"{package}.{old}", "What stood here has moved; for old pickles.")
        module.__getattr__ = _moved(package, old)  # pyright: ignore[reportAttributeAccessIssue]
        sys.modules.setdefault(module.__name__, module)


def _moved(package: str, old: str) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        # Whoever goes through `sys.modules` asks all modules for `__file__` and the like.
        moved = {} if name.startswith("__") else import_module(f"{package}._moved").MOVED
        try:
            home, _, there = moved[f"{old}.{name}"].partition(":")
        except KeyError:
            message = f"module '{package}.{old}' has no attribute {name!r}"
            raise AttributeError(message, name=name) from None
        return getattr(import_module(home, package), there)

    return get
