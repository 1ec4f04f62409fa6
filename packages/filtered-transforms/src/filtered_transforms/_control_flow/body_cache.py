"""The functions that JAX calls in the place of a user's, one for each for as long as that lives."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any


class BodyCache:
    """The functions that JAX calls in the place of a user's functions.

    JAX finds a loop that it has traced before by the identity of its body. So the same function has
    to give the same body again, else each call traces anew. Written and read by each call of
    filtered control flow; one instance for each kind of body.

    A body is kept as long as the user's function, which it refers to weakly, and for each set of
    options of a call. `dict.setdefault` decides between threads.
    """

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
