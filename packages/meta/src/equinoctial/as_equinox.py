"""`import equinox` is `equinoctial`, in this process: libraries written for Equinox run unchanged.

Three ways to say so, before anything imports Equinox:

- in Python, `import equinoctial.as_equinox`;
- for a test suite, `pytest -p equinoctial.as_equinox`;
- for a program, `python -m equinoctial.as_equinox script.py ...` (or `-m module ...`).

From then on `equinox`, `equinox.nn`, `equinox.internal` and `equinox.debug` are modules with the
names of `equinoctial` and its modules, whether or not Equinox is installed. `equinox.__version__`
is the release that the names are those of. What is private in Equinox is not there, but for what
released libraries use, in `equinox._module._module`: `_ModuleMeta`, the class of `Module`
(distreqx, quax), `is_abstract_module` and `_currently_initialising` (quax). Where we warn and
Equinox does not, of a static field without a hash, the warning is off: who uses a library cannot
mend it.

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
import os
import runpy
import sys
import warnings
from types import ModuleType
from typing import Any

from pytree_module import Module

from . import debug, internal, nn

EQUINOX_VERSION = "0.13.8"
"""The release of Equinox whose names these are."""

_MODULE_META: Any = type(Module)

_OURS_ALONE = ".* It has no hash, and may change without `jax.jit` noticing"


class _CurrentlyInitialising:
    """Instances whose fields may be assigned: quax calls `add`, `__init__`, `remove`."""

    def add(self, module: Module) -> None:
        _MODULE_META.__unfreeze__(type(module), module)

    def remove(self, module: Module) -> None:
        _MODULE_META.__freeze__(type(module), module)


_PRIVATE: dict[str, dict[str, object]] = {
    "equinox._module": {},
    "equinox._module._module": {
        "_ModuleMeta": _MODULE_META,
        "_currently_initialising": _CurrentlyInitialising(),
        "is_abstract_module": _MODULE_META.__is_abstract__,
    },
}


def _alias(name: str, original: ModuleType) -> ModuleType:
    """A module called `name` with everything that `original` has."""
    alias = ModuleType(name, original.__doc__)
    own = ("__name__", "__spec__", "__loader__", "__path__", "__file__", "__cached__")
    vars(alias).update({key: value for key, value in vars(original).items() if key not in own})
    alias.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=name == "equinox")
    alias.__package__ = "equinox"
    return alias


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
    package = _alias("equinox", sys.modules[str(internal.__package__)])
    vars(package).update(__equinoctial__=True, __version__=EQUINOX_VERSION, __path__=[])
    sys.modules["equinox"] = package
    for module in (debug, internal, nn):
        name = module.__name__.rpartition(".")[2]
        sys.modules[f"equinox.{name}"] = _alias(f"equinox.{name}", module)
        setattr(package, name, sys.modules[f"equinox.{name}"])
    for path, names in _PRIVATE.items():
        sys.modules[path] = ModuleType(path)
        vars(sys.modules[path]).update(names, __path__=[])
        parent, _, name = path.rpartition(".")
        setattr(sys.modules[parent], name, sys.modules[path])


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
