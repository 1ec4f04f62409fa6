"""Where compiled programs are kept: for each function, as long as that lives."""

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

Written by `is_weak`; read there, and by each call of a function of `filter_jit`. It keeps classes
alive, so the oldest goes. A class that is missing is looked at again.
"""


def is_weak(fun: Any) -> bool:
    """Whether programs are kept for `fun` itself, by a weak reference.

    That is so for functions, and for every leaf that equals itself alone. The other callables are
    part of the key under which a program is found, so that equal ones share it.
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
    """What `make(fun)` has made for each function, and `make(None)` for all callable PyTrees.

    An entry goes when its function does, so that the table is as large as there are functions. An
    entry must not hold its function, else neither ever goes. `dict.setdefault` decides between
    threads that make an entry for one function at the same time.
    """

    __slots__ = ("__weakref__", "_make", "by_function", "of_trees")

    def __init__(self, make: Callable[[Any], Kept]):
        self._make = make
        self.by_function: dict[weakref.ref[Any], Kept] = {}
        self.of_trees = make(None)

    def of(self, fun: Any) -> Kept:
        """The entry for a function, made if there is none."""
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
