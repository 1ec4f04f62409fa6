"""Trees as documents of `wadler_lindig`.

The common kinds of nodes are written here, which is faster; all others `wadler_lindig` writes.
"""

import dataclasses as dc
import functools as ft
import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np
import wadler_lindig as wl

from .layout import Bracket

_Doc = wl.AbstractDoc
_WRITTEN_BY_WL = (types.FunctionType, types.MethodType, type, ft.partial)


class Writer:
    """Makes the document of a tree, with the options of `tree_pformat`."""

    def __init__(
        self,
        indent: int,
        short_arrays: bool,
        struct_as_array: bool,
        truncate_leaf: Callable[[Any], bool] | None,
    ):
        self.indent = indent
        self.short_arrays = short_arrays
        self.struct_as_array = struct_as_array
        self.truncate_leaf = truncate_leaf
        self.seen: set[int] = set()  # the ids of the nodes around the one that is written
        # For each class of dataclasses met so far: name, label and default of its fields.
        self.fields: dict[type, list[tuple[str, str, Any]]] = {}

    def write(self, x: Any) -> _Doc:
        """The document of any object."""
        identity = id(x)
        if identity in self.seen:
            return wl.TextDoc("<recursive>")
        self.seen.add(identity)
        try:
            doc = self.write_known(x)
        finally:
            self.seen.remove(identity)
        if doc is not None:
            return doc
        return wl.pdoc(
            x,
            indent=self.indent,
            short_arrays=self.short_arrays,
            custom=self.write_known,
            seen_ids=self.seen,
        )

    def write_known(self, x: Any) -> _Doc | None:
        """The document of an object of the common kinds; `None` leaves it to `wadler_lindig`."""
        kind = type(x)
        if self.truncate_leaf is not None and self.truncate_leaf(x):
            return truncated(x)
        write = _BY_TYPE.get(kind)
        if write is not None:
            return write(self, x)
        if kind in self.fields:
            return self.dataclass(x)
        if is_shown_by_shape(x):
            return short_array(x, self.short_arrays, self.struct_as_array)
        if isinstance(x, type) or hasattr(kind, "__pdoc__"):
            return None
        if isinstance(x, jtu.Partial):
            return self.partial(x)
        if dc.is_dataclass(x):
            # A collection that is also a dataclass is written as a collection.
            return None if isinstance(x, _COLLECTIONS) else self.dataclass(x)
        return wrapper_document(x) if callable(x) else None

    def constant(self, x: Any) -> _Doc:
        return wl.TextDoc(repr(x))

    def tuple(self, x: Any) -> _Doc:
        items: list[tuple[str, _Doc]] = []
        for y in x:  # no comprehension: a frame less for each level, of those Python has for depth
            items.append(("", self.write(y)))
        return Bracket("(", items, "," if len(items) == 1 else "", ")", self.indent)

    def list(self, x: Any) -> _Doc:
        items: list[tuple[str, _Doc]] = []
        for y in x:
            items.append(("", self.write(y)))
        return Bracket("[", items, "", "]", self.indent)

    def dict(self, x: Any) -> _Doc:
        items = [("", self.dict_item(key, value)) for key, value in x.items()]
        return Bracket("{", items, "", "}", self.indent)

    def dict_item(self, key: Any, value: Any) -> _Doc:
        key_doc, value_doc = self.write(key), self.write(value)
        return wl.ConcatDoc(key_doc, _COLON, _SPACE, value_doc)

    def partial(self, x: jtu.Partial) -> _Doc:
        parts = [("func=", x.func), ("args=", x.args), ("keywords=", x.keywords)]
        items = [(label, self.write(y)) for label, y in parts]
        return Bracket("Partial(", items, "", ")", self.indent)

    def dataclass(self, x: Any) -> _Doc:
        """The fields of a dataclass that have `repr=True` and another value than their default."""
        kind = type(x)
        if kind not in self.fields:
            prefix = "_" + kind.__name__
            self.fields[kind] = [
                (field.name, field.name.removeprefix(prefix) + "=", field.default)
                for field in dc.fields(x)
                if field.repr
            ]
        items: list[tuple[str, Any]] = []
        for name, label, default in self.fields[kind]:
            value = getattr(x, name, _UNINITIALISED)
            if value is _UNINITIALISED:
                items.append((label, wl.TextDoc("<uninitialised>")))
            elif value is not default:
                items.append((label, self.write(value)))
        name = kind.__qualname__
        if self.truncate_leaf is not None and self.truncate_leaf(kind):
            name = f"{type(kind).__name__}(...)"
        return Bracket(f"{name}(", items, "", ")", self.indent)


_COLON, _SPACE = wl.TextDoc(":"), wl.BreakDoc(" ")
_COLLECTIONS = (tuple, list, dict, set, frozenset, ft.partial)
_UNINITIALISED: Any = object()
_BY_TYPE: dict[type, Callable[[Writer, Any], _Doc]] = {
    tuple: Writer.tuple,
    list: Writer.list,
    dict: Writer.dict,
    **dict.fromkeys((int, float, bool, complex, str, bytes, type(None)), Writer.constant),
}


def truncated(x: Any) -> _Doc:
    """A node of which only the type is shown, as `Linear(...)`."""
    return wl.TextDoc(f"{type(x).__name__}(...)")


def is_shown_by_shape(x: Any) -> bool:
    """Whether a leaf is shown by dtype and shape, if arrays are short.

    Not `is_array_or_struct` of `_nodes`: for that a NumPy scalar is an array; here it shows its
    value.
    """
    return isinstance(x, jax.Array | np.ndarray | jax.ShapeDtypeStruct)


def short_array(x: Any, short_arrays: bool, struct_as_array: bool) -> _Doc | None:
    """An array or a struct as dtype and shape, such as `f32[3,4]`. `None` if not asked for."""
    if not short_arrays or (isinstance(x, jax.ShapeDtypeStruct) and not struct_as_array):
        return None
    kind = "numpy" if isinstance(x, np.ndarray) else None
    weak = "weak_" if getattr(x, "weak_type", False) else ""
    *_, dtype = str(x.dtype).rsplit(".")
    return wl.array_summary(x.shape, weak + dtype, kind)


def wrapper_document(x: Any) -> _Doc | None:
    """An object that wraps a function, as `jax.jit` makes, as the function that it wraps.

    `None` for other objects. (The `repr` of a wrapper is often its address in memory.)
    """
    if isinstance(x, _WRITTEN_BY_WL):
        return None
    try:
        inner = inspect.unwrap(x)
    except Exception:  # some objects have every attribute, so that unwrapping never ends
        return None
    if inner is x or not isinstance(inner, types.FunctionType):
        return None
    is_rule = isinstance(x, jax.custom_jvp | jax.custom_vjp) and x.__wrapped__ is inner
    return wl.TextDoc(f"<{'' if is_rule else 'wrapped '}function {inner.__qualname__}>")
