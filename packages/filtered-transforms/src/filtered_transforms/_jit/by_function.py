"""The table of compiled programs: an entry lives as long as its function."""

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax.tree_util as jtu

from .bounded_table import BoundedTable

_ref = weakref.ref
Kept = TypeVar("Kept")

_MAX_CLASSES = 1024

IS_WEAK = BoundedTable(_MAX_CLASSES)
"""For each class of callables met: `is_weak` of its instances.

Written by `is_weak`; read there, and by each call of a `filter_jit` function. The table keeps
classes alive, so it is bounded. `is_weak` computes a missing entry again.
"""


def is_weak(fun: Any) -> bool:
    """Whether programs are kept for `fun` itself, by a weak reference.

    This holds for functions, and for every leaf that is compared by identity. Other callables are
    part of the key of a program, so that equal ones share it.
    """
    found = IS_WEAK.get(fun.__class__)
    if found is None:
        cls: Any = fun.__class__
        by_identity = cls.__eq__ is object.__eq__ and cls.__hash__ is object.__hash__
        found = by_identity and jtu.all_leaves([fun])
        try:
            _ref(fun)
        except TypeError:
            found = False
        IS_WEAK.add(cls, found)
    return found


class ByFunction(Generic[Kept]):
    """A table of `make(fun)` for each function, and of `make(None)` for all callable PyTrees.

    An entry is removed when its function is freed. An entry must not hold its function: neither
    would ever be freed. If two threads make an entry for one function, `dict.setdefault` chooses
    one.
    """

    __slots__ = ("__weakref__", "_make", "by_function", "of_trees")

    def __init__(self, make: Callable[[Any], Kept]):
        self._make = make
        self.by_function: dict[weakref.ref[Any], Kept] = {}
        self.of_trees = make(None)

    def of(self, fun: Any) -> Kept:
        """The entry for a function; makes it if there is none."""
        if not is_weak(fun):
            return self.of_trees
        found = self.by_function.get(_ref(fun))
        if found is None:
            by_function = self.by_function
            key = _ref(fun, lambda gone: by_function.pop(gone, None))
            found = by_function.setdefault(key, self._make(fun))
        return found

    def clear(self) -> None:
        """Drops all entries."""
        self.by_function.clear()
        self.of_trees = self._make(None)
