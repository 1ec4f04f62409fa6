"""`import equinox` is `equinoctial`, in this process: libraries written for Equinox run unchanged.

Three ways to say so, before anything imports Equinox:

- in Python, `import equinoctial.as_equinox`;
- for a test suite, `pytest -p equinoctial.as_equinox`;
- for a program, `python -m equinoctial.as_equinox script.py ...` (or `-m module ...`).

From then on `equinox`, `equinox.nn`, `equinox.internal` and `equinox.debug` are modules with the
names of `equinoctial` and its modules, whether or not Equinox is installed. `equinox.__version__`
is the release that the names are those of. Released libraries import from Equinox's private modules
as well: each of those gives the public names, and the private ones that are known to be in use (the
table is in `docs/ecosystem.md`). Where we warn and Equinox does not, of a static field without a
hash, the warning is off: who uses a library cannot mend it.

**Raises:** `ImportError` if Equinox itself has been imported already: objects of the two do not
mix.

```python
import equinoctial.as_equinox
import equinox as eqx
import equinoctial

assert eqx.Module is equinoctial.Module and eqx.nn.Linear is equinoctial.nn.Linear
```
"""

import importlib.machinery
import inspect
import os
import runpy
import sys
import warnings
from types import ModuleType
from typing import Any

from . import debug, internal, nn
from ._private_names import MODULES, NAMES

EQUINOX_VERSION = "0.13.8"
"""The release of Equinox whose names these are."""

_OURS_ALONE = ".* It has no hash, and may change without `jax.jit` noticing"

_PUBLIC = {
    "equinox": sys.modules[str(internal.__package__)],
    "equinox.nn": nn,
    "equinox.internal": internal,
    "equinox.debug": debug,
}


class _Alias(ModuleType):
    """A module of Equinox, whose names are found here when they are asked for."""

    def __init__(self, name: str):
        super().__init__(name, getattr(_PUBLIC.get(name), "__doc__", None))
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self.__package__ = name
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for module, private, find, _ in NAMES:
            if (self.__name__, name) == (f"equinox.{module}", private):
                found = find()
                break
        else:
            public = _holders(name)
            if not public or (self.__name__ in _PUBLIC and self.__name__ not in public):
                what = f"module {self.__name__!r} has no attribute {name!r}"
                raise AttributeError(_not_there(what, name), name=name, obj=self)
            # A private module of Equinox may hold a name that is public anywhere.
            found = getattr(_PUBLIC[self.__name__ if self.__name__ in public else public[0]], name)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *getattr(_PUBLIC.get(self.__name__), "__all__", ())})


def _holders(name: str) -> list[str]:
    """The public modules of Equinox that have a public name."""
    return [path for path, module in _PUBLIC.items() if name in module.__all__]


def _not_there(what: str, name: str) -> str:
    public = _holders(name)
    if public:
        instead = f"Write `from {public[0]} import {name}`."
    else:
        instead = (
            "Of what is private in Equinox it has only what released libraries are known to use. "
            "Import public names, from `equinox`, `equinox.nn`, `equinox.internal` or "
            "`equinox.debug`."
        )
    return (
        f"{what}. In this process `equinox` is an alias of `equinoctial`, made by "
        f"`equinoctial.as_equinox`, with the names of Equinox {EQUINOX_VERSION}. {instead}"
    )


class _Finder:
    """Asked for modules of Equinox that are not there: those that are, are in `sys.modules`."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:
        if not fullname.startswith("equinox."):
            return
        parent, _, name = fullname.rpartition(".")
        if _asked_by_from():
            message = _not_there(f"cannot import name {name!r} from {parent!r}", name)
            raise ImportError(message, name=parent)
        message = _not_there(f"No module named {fullname!r}", name)
        raise ModuleNotFoundError(message, name=fullname)


def _asked_by_from() -> bool:
    """Whether Python looks for a module since `from parent import name` found no such attribute.

    It would then drop a `ModuleNotFoundError` that bears the name, and say nothing of an alias.
    """
    frame = inspect.currentframe()
    while frame is not None and (
        frame.f_globals is globals() or "importlib" in frame.f_code.co_filename
    ):
        if frame.f_code.co_name == "_handle_fromlist":
            return True
        frame = frame.f_back
    return False


def install() -> None:
    """Makes `import equinox` give `equinoctial`. Done when this module is imported; once."""
    present = sys.modules.get("equinox")
    if getattr(present, "__equinoctial__", False):
        return
    if present is not None:
        raise ImportError(
            f"`equinoctial.as_equinox` came too late: Equinox itself has been imported, from "
            f"{getattr(present, '__file__', 'an unknown place')}. Import `equinoctial.as_equinox` "
            f"before anything that imports `equinox`; for a test suite, `pytest -p "
            f"equinoctial.as_equinox`; for a program, `python -m equinoctial.as_equinox script.py`."
        )
    warnings.filterwarnings("ignore", _OURS_ALONE, UserWarning)
    for path in (*_PUBLIC, *(f"equinox.{module}" for module in MODULES)):
        sys.modules[path] = alias = _Alias(path)
        parent, _, name = path.rpartition(".")
        if parent:
            setattr(sys.modules[parent], name, alias)
    vars(sys.modules["equinox"]).update(__equinoctial__=True, __version__=EQUINOX_VERSION)
    for path, module in _PUBLIC.items():
        vars(sys.modules[path])["__all__"] = module.__all__
    sys.meta_path.insert(0, _Finder)


def pytest_configure(config: Any) -> None:
    """Called by pytest, which sets the filters of warnings anew for each test."""
    config.addinivalue_line("filterwarnings", f"ignore:{_OURS_ALONE}:UserWarning")


def main(arguments: list[str]) -> None:
    """`python -m equinoctial.as_equinox (script.py | -m module) [argument ...]`."""
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        sys.argv[:] = arguments[1:]
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments and not arguments[0].startswith("-"):
        sys.argv[:] = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))  # as Python does
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.exit("usage: python -m equinoctial.as_equinox (script.py | -m module) [argument ...]")


install()

if __name__ == "__main__":
    main(sys.argv[1:])
