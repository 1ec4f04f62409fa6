"""Trees with values that are no arrays, given to functions of JAX that call ours."""

import weakref
from collections.abc import Callable, Hashable
from itertools import compress
from typing import Any

import jax.tree_util as jtu

from .predicates import array_mask
from .static_leaf import StaticLeaf


class Held(StaticLeaf):
    # A value that is no array, as a node without children: JAX compares it, and never traces it.
    # Unlike `StaticLeaf` it stays a node when unflattened, since JAX flattens and unflattens the
    # trees of its loops more than once.

    __slots__ = ()


jtu.register_pytree_node(Held, lambda held: ((), held), lambda held, _: held)


def _is_held(x: Any) -> bool:
    return x.__class__ is Held


def is_number(x: Any) -> bool:
    """Whether `x` is a Python number, which JAX would take for an array."""
    return isinstance(x, (bool, int, float, complex))


def hold(tree: Any, numbers: frozenset[int] = frozenset()) -> Any:
    """`tree` with each leaf that is no array in a node, except for these numbers of leaves."""
    leaves, treedef = jtu.tree_flatten(tree)
    mask = array_mask(leaves)
    if all(mask):
        return tree
    for i in numbers:
        mask[i] = True
    pairs = zip(leaves, mask, strict=True)
    return treedef.unflatten([leaf if array else Held(leaf) for leaf, array in pairs])


def release(tree: Any) -> Any:
    """The inverse of `hold`."""
    leaves, treedef = jtu.tree_flatten(tree, is_leaf=_is_held)
    mask = [leaf.__class__ is Held for leaf in leaves]
    if not any(mask):
        return tree
    for i in compress(range(len(mask)), mask):
        leaves[i] = leaves[i].value
    return treedef.unflatten(leaves)


class Bodies:
    # Functions for JAX to call in the place of a user's. JAX knows the loops that it has compiled
    # by the identity of these, so that the same function must give the same one again; it is kept
    # for as long as the user's function is.

    def __init__(self, make: Callable[..., Callable[..., Any]]):
        self._make = make
        self._known: weakref.WeakKeyDictionary[Any, dict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def of(self, fun: Any, *options: Hashable) -> Callable[..., Any]:
        """What JAX is to call in the place of `fun`."""
        kind = type(fun)
        # By identity: equal is not enough, since what is equal need not do the same.
        if kind.__hash__ is not object.__hash__ or kind.__eq__ is not object.__eq__:
            return self._make(lambda: fun, *options)
        try:
            reference = weakref.ref(fun)
        except TypeError:
            return self._make(lambda: fun, *options)
        known = self._known.setdefault(fun, {})
        found = known.get(options)
        if found is not None:
            return found
        body = self._make(reference, *options)  # holding `fun` would keep it for ever
        body.__name__ = getattr(fun, "__name__", body.__name__)
        body.__qualname__ = getattr(fun, "__qualname__", body.__qualname__)
        return known.setdefault(options, body)  # that of another thread, if it was quicker


def check_callable(name: str, fun: Any) -> None:
    """**Raises:** `TypeError` if `fun` is no function, naming the transformation, `name`."""
    if not callable(fun):
        raise TypeError(
            f"`{name}` expects a function, got a {type(fun).__name__}, which is not a callable "
            f"object: {fun!r}."
        )
