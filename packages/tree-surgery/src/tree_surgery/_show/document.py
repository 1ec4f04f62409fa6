"""Trees as documents of `wadler_lindig`: the common kinds of node here, everything else there."""

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
_SAID_BY_REPR = frozenset({int, float, bool, complex, str, bytes, type(None)})
_KNOWN_TO_WL = (types.FunctionType, types.MethodType, type, ft.partial)


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
        self.seen: set[int] = set()  # the nodes that we are inside of
        self.fields: dict[type, list[tuple[str, str, Any]]] = {}

    def write(self, x: Any) -> _Doc:
        """The document of any object."""
        identity = id(x)
        if identity in self.seen:
            return wl.TextDoc("<recursive>")
        self.seen.add(identity)
        try:
            doc = self.known(x)
        finally:
            self.seen.remove(identity)
        if doc is not None:
            return doc
        return wl.pdoc(
            x,
            indent=self.indent,
            short_arrays=self.short_arrays,
            custom=self.known,
            seen_ids=self.seen,
        )

    def known(self, x: Any) -> _Doc | None:
        """The document of what is of one of the kinds below, else `None`."""
        kind = type(x)
        if self.truncate_leaf is not None and self.truncate_leaf(x):
            return truncated(x)
        if kind in _SAID_BY_REPR:
            return wl.TextDoc(repr(x))
        if kind is tuple:
            items = [("", self.write(y)) for y in x]
            return Bracket("(", items, "," if len(items) == 1 else "", ")", self.indent)
        if kind is list:
            return Bracket("[", [("", self.write(y)) for y in x], "", "]", self.indent)
        if kind is dict:
            return Bracket(
                "{", [("", self.entry(*pair)) for pair in x.items()], "", "}", self.indent
            )
        if isinstance(x, jax.Array | np.ndarray):
            return array_document(x) if self.short_arrays else None
        if isinstance(x, jax.ShapeDtypeStruct):
            return array_document(x) if self.struct_as_array and self.short_arrays else None
        if isinstance(x, type) or hasattr(kind, "__pdoc__"):
            return None
        if isinstance(x, jtu.Partial):
            fields = [("func=", x.func), ("args=", x.args), ("keywords=", x.keywords)]
            items = [(name, self.write(y)) for name, y in fields]
            return Bracket("Partial(", items, "", ")", self.indent)
        if kind in self.fields or dc.is_dataclass(x):
            # A collection that is also a dataclass is written as a collection.
            return None if isinstance(x, _COLLECTIONS) else self.dataclass(x)
        return wrapper_document(x) if callable(x) else None

    def entry(self, key: Any, value: Any) -> _Doc:
        key_doc, value_doc = self.write(key), self.write(value)
        return wl.ConcatDoc(key_doc, _COLON, _SPACE, value_doc)

    def dataclass(self, x: Any) -> _Doc:
        """The fields that have `repr=True` and are not at their default."""
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


def truncated(x: Any) -> _Doc:
    """A node of which only the type is shown."""
    return wl.TextDoc(f"{type(x).__name__}(...)")


def array_document(x: Any) -> _Doc:
    """An array, or the shape of one, by dtype and shape."""
    kind = "numpy" if isinstance(x, np.ndarray) else None
    weak = "weak_" if getattr(x, "weak_type", False) else ""
    *_, dtype = str(x.dtype).rsplit(".")
    return wl.array_summary(x.shape, weak + dtype, kind)


def wrapper_document(x: Any) -> _Doc | None:
    """What is no function but wraps one, and would else only say where in memory it is."""
    if isinstance(x, _KNOWN_TO_WL):
        return None
    try:
        inner = inspect.unwrap(x)
    except Exception:  # an object that has every attribute, and wraps for ever
        return None
    if inner is x or not isinstance(inner, types.FunctionType):
        return None
    is_rule = isinstance(x, jax.custom_jvp | jax.custom_vjp) and x.__wrapped__ is inner
    return wl.TextDoc(f"<{'' if is_rule else 'wrapped '}function {inner.__qualname__}>")
