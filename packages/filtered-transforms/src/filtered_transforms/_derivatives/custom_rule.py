"""The base of functions with custom derivative rules."""

import functools
import sys
from collections.abc import Callable
from typing import Any, Generic, Self, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.custom_derivatives import SymbolicZero

from filtered_transforms._filters.static_nodes import Held, check_callable
from filtered_transforms._jax.operands import as_array
from filtered_transforms._types import P, Q, R, T, TakesFirst, Wrapped
from pytree_module import BoundMethod
from tree_surgery import path_str

_OF_FUNCTION = (*functools.WRAPPER_ASSIGNMENTS, "__defaults__", "__kwdefaults__")


class CustomRule(Generic[P, R]):
    """A function and the rules for its derivatives. Not a PyTree: rules are added to it later."""

    def __init__(self, fn: Callable[P, R]):
        check_callable(type(self).__name__, fn)
        self.fn = fn
        this: Any = self  # declared to take a function; any object will do
        functools.update_wrapper(this, fn, _OF_FUNCTION, updated=())

    @overload  # as for `Wrapped`
    def __get__(self: TakesFirst[T, Q, R], instance: object, owner: T, /) -> Wrapped[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: object = None, /) -> Self: ...
    @overload
    def __get__(
        self: TakesFirst[T, Q, R], instance: T, owner: object = None, /
    ) -> Wrapped[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: object = None, /) -> Self: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any:
        if instance is None:
            return self
        bound: Any = BoundMethod  # declared to take a function; any callable will do
        return bound(self, instance)

    # Copied and pickled like a function: by reference, not by value.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = vars(self).get("__qualname__", "")
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else object.__reduce_ex__(self, 2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fn!r})"


def or_none(derivative: Any) -> Any:
    """A tangent or cotangent; `None` for a symbolic zero."""
    if isinstance(derivative, SymbolicZero):
        return None
    derivative = as_array(derivative)
    return None if derivative.dtype == jax.dtypes.float0 else derivative


def derivatives_like(out: Any, tree: Any, rule: str, what: str) -> list[Any]:
    """For each leaf of `out` the leaf of `tree`. A `None` in `tree` may stand for a whole subtree.

    **Raises:** `ValueError` if they do not fit.
    """
    found, treedef = jtu.tree_flatten(tree, is_leaf=lambda x: x is None)
    try:
        places = treedef.flatten_up_to(out)
    except ValueError as error:
        raise ValueError(
            f"{rule} must return {what}, with `None` for what has no derivative. {error}"
        ) from None
    leaves: list[Any] = []
    for i, (one, place) in enumerate(zip(found, places, strict=True)):
        below = jtu.tree_leaves(place, is_leaf=lambda x: x.__class__ is Held)
        if one is not None and (len(below) != 1 or not jtu.all_leaves([place])):
            path = jtu.tree_leaves_with_path(tree, is_leaf=lambda x: x is None)[i][0]
            raise ValueError(
                f"{rule} must return {what}, with `None` for what has no derivative. At "
                f"{path_str(path)} it has a leaf where that has a tree."
            )
        leaves += [one] * len(below)
    return leaves


def zero_of(x: Any) -> Any:
    """A symbolic zero tangent."""
    return SymbolicZero.from_primal_value(x)


def zeros_of(x: Any) -> Any:
    """A tangent of zeros for an inexact array."""
    return jnp.zeros(jnp.shape(x), x.dtype)
