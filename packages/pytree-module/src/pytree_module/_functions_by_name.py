"""The names by which functions are imported, also in other processes."""

import functools
import importlib
import operator
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import jax.numpy as jnp

Same = Callable[[Any, Any], bool]


def name_of(value: Any, same: Same = operator.is_) -> tuple[str, str] | None:
    """The module and the qualified name of this object, a public one if possible; else `None`.

    JAX defines its functions in private modules, which change from one release to the next.
    """
    qualname = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(qualname, str) or not isinstance(module, str):
        return None
    here = same(_find(module, qualname), value) or same(_ask(module, qualname), value)
    own = (module, qualname) if here else None
    if own is not None and not _is_private(module):
        return own
    public = _public_modules(module.partition(".")[0], len(sys.modules))
    for name in public:
        if same(_find(name, qualname), value):
            return name, qualname
    return own or (_assigned(value, [*public, module]) if same is operator.is_ else None)


def _assigned(value: Any, modules: list[str]) -> tuple[str, str] | None:
    """The global variable of a module that holds `value`, as in `act = jax.jit(lambda x: ...)`."""
    for module in modules:
        for name, other in list(_names_in(module).items()):
            if other is value and not name.startswith("_"):
                return module, name
    return None


def _find(module: str, qualname: str) -> Any:
    first, *others = qualname.split(".")
    found = _names_in(module).get(first)
    for name in others:
        found = getattr(found, name, None)
    return found


def _ask(module: str, qualname: str) -> Any:
    """The attribute of this name of a public module, imported as `pickle` would import it.

    A module may load its names lazily, so that `_find` does not see the name yet.
    """
    if "<" in qualname or _is_private(module):
        return None
    try:
        return operator.attrgetter(qualname)(importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


def _names_in(module: str) -> dict[str, Any]:
    # Only names that exist already: a module's `__getattr__` may import others, or warn.
    return getattr(sys.modules.get(module), "__dict__", {})


def _is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split(".")) and module != "__main__"


@functools.lru_cache(maxsize=64)
def _public_modules(root: str, _: int) -> list[str]:
    """The public modules of a package that are imported, the shortest names first.

    The second argument is the number of all modules: when it changes, the cache is not used.
    """
    names = [
        name
        for name, module in list(sys.modules.items())
        if (name == root or name.startswith(root + ".")) and isinstance(module, ModuleType)  # pyright: ignore[reportUnnecessaryIsInstance] (anything may stand there)
    ]
    public = [name for name in names if not _is_private(name)]
    return sorted(public, key=lambda name: (name.count("."), name))


def wraps_function(value: Any) -> bool:
    """Whether `value` is JAX's wrapper of a function: `jax.jit`, `jax.custom_jvp`, a ufunc, ..."""
    kind = type(value)
    if kind is FunctionType or kind.__module__.partition(".")[0] not in ("jax", "jaxlib"):
        return False
    return isinstance(value, jnp.ufunc) or hasattr(value, "__wrapped__")


def pickler_writes_functions() -> bool:
    """Whether the current pickler writes functions by value, as cloudpickle and dill do.

    `__reduce_ex__` and `__getstate__` do not get the pickler as an argument. But the methods of
    these picklers are written in Python, so they are on the stack.
    """
    carrying = {"cloudpickle", "cloudpickle_fast", "dill", "_dill"}  # also as part of others
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage]  (there is no public way)
    while frame is not None:
        if not carrying.isdisjoint(str(frame.f_globals.get("__name__")).split(".")):
            return True
        frame = frame.f_back
    return False
