"""What a program does, as plain data: two sides do the same if the data is equal.

Arrays become dtype, shape, weak type and values; PyTrees their class, key paths, children
and static fields; everything else its type and its text, without addresses and module paths.
"""

import contextlib
import dataclasses
import io
import re
import types
import warnings
from typing import Any

import jax
import numpy as np

LIBRARIES = (
    "equinox equinoctial tree_surgery pytree_module filtered_transforms runtime_checks nn_layers"
)
MODULES = re.compile(rf"\b(?:{'|'.join(LIBRARIES.split())})(?:\.\w+)*\.(\w+)")
ADDRESS = re.compile(r"0x[0-9a-f]+")


def text(value: str) -> str:
    """A text without what differs from process to process, or names a library's own file."""
    return ADDRESS.sub("0x", MODULES.sub(r"LIB.\1", value))


def of_array(x: Any) -> tuple[Any, ...]:
    kind = "jax" if isinstance(x, jax.Array) else "numpy" if x.ndim else type(x).__name__
    if isinstance(x, jax.core.Tracer):
        return "tracer", str(x.aval)
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return kind, str(x.dtype), np.asarray(jax.random.key_data(x)).tolist()
    weak = bool(getattr(x, "weak_type", False))
    return kind, str(x.dtype), x.shape, weak, np.asarray(x).tolist()


def of_class(value: type) -> str:
    """The name of a class, without its module if that is a library's."""
    return text(f"{value.__module__}.{value.__qualname__}")


def statics(value: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return {}
    names = [f.name for f in dataclasses.fields(value) if f.metadata.get("static")]
    return {name: plain(getattr(value, name, "unset")) for name in names if name[0] != "_"}


def of_node(value: Any) -> Any:
    """A node of a PyTree: its class, the keys of its children, the children, and what is static."""
    children = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda x: x is not value)[0]
    return (
        "node",
        of_class(type(value)),
        [(jax.tree_util.keystr(path), plain(child)) for path, child in children],
        statics(value),
    )


def plain(value: Any) -> Any:
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return of_array(value)
    if isinstance(value, jax.ShapeDtypeStruct):
        return "struct", value.shape, str(value.dtype), value.weak_type
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return type(value).__name__, repr(value)
    if value is None or isinstance(value, bool | int | complex | bytes | types.EllipsisType):
        return type(value).__name__, value
    if isinstance(value, type):
        return "class", of_class(value)
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(str(plain(v)) for v in value)
    if isinstance(value, BaseException):
        return of_error(value)
    if isinstance(value, types.MappingProxyType):
        return plain(dict(value))
    if not jax.tree_util.all_leaves([value]):
        return of_node(value)
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType):
        return "function", text(getattr(value, "__qualname__", "?"))
    return "object", text(repr(value))


def of_error(error: BaseException) -> tuple[str, list[str]]:
    """The names by which a handler can catch it: of public classes, the most special one first."""
    caught = [c for c in type(error).__mro__ if c not in (object, BaseException)]
    own = ("builtins", "jax", "jaxlib", "dataclasses", "numpy")
    public = [
        c.__name__
        for c in caught
        if c.__module__.split(".")[0] in own or c.__name__.startswith("Equinox")
    ]
    return "raised", public


def observe(function: Any, namespace: Any) -> dict[str, Any]:
    """Runs a program: its result or its error, what it prints, and what it warns of."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            outcome = plain(function(namespace))
        except Exception as error:
            outcome, message = of_error(error), f"{type(error).__name__}: {error}"
        else:
            message = ""
    return {
        "outcome": outcome,
        "printed": text(printed.getvalue()),
        "warnings": sorted({w.category.__name__ for w in caught}),
        "message": message,  # shown beside a difference, not compared
    }
