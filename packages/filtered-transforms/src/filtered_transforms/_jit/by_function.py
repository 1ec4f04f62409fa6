"""What is kept for functions: for each as long as it lives."""

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax.tree_util as jtu

_ref = weakref.ref
Kept = TypeVar("Kept")
IS_WEAK: dict[type, bool] = {}


def is_weak(fun: Any) -> bool:
    """Whether something is kept for `fun` itself, as long as it lives.

    It is so for functions, and all that is a leaf and equal to itself alone. Others are part of
    the key under which it is found, so that equal ones share it.
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
        IS_WEAK[cls] = found
    return found


class ByFunction(Generic[Kept]):
    """What `make(fun)` has made for each function, and `make(None)` for all callable PyTrees."""

    __slots__ = ("_make", "by_function", "of_trees")

    def __init__(self, make: Callable[[Any], Kept]):
        self._make = make
        self.by_function: dict[weakref.ref[Any], Kept] = {}
        self.of_trees = make(None)

    def of(self, fun: Any) -> Kept:
        if not is_weak(fun):
            return self.of_trees
        found = self.by_function.get(_ref(fun))
        if found is None:
            by_function = self.by_function
            key = _ref(fun, lambda gone: by_function.pop(gone, None))
            found = by_function.setdefault(key, self._make(fun))
        return found

    def clear(self) -> None:
        """Forgets all of it."""
        self.by_function.clear()
        self.of_trees = self._make(None)
