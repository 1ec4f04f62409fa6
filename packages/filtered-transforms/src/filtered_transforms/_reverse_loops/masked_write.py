"""`maybe_set_p`: writing to a buffer in a differentiated loop.

A write must not read the array, nor select between an old and a new one: either would make XLA copy
it in each step. So a write whose predicate is False goes out of bounds, where JAX drops it. The
derivative rules are exact only if each element is written once, and if the loop masks the written
elements by its marks.
"""

import operator
from collections.abc import Callable
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.operands import is_zero, shaped_array, zero_cotangent, zero_tangent
from filtered_transforms._primitives.vprim import create_vprim
from filtered_transforms._types import Index

from .materialise import materialise


class StaticIndex:
    """The static part of an index, hashable; its arrays are operands of the primitive.

    `is_read`: whether the loop reads any of its buffers.
    """

    def __init__(self, items: list[Any], is_read: bool = False):
        self.is_read = is_read
        self._parts = tuple(
            ("array",)
            if is_array(x)
            else ("slice", *map(_bound, (x.start, x.stop, x.step)))
            if isinstance(x, slice)
            else ("as it is", x)
            for x in items
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticIndex):
            return False
        return self._parts == other._parts and self.is_read == other.is_read

    def __hash__(self) -> int:
        return hash((self._parts, self.is_read))

    def index(self, indices: Any) -> tuple[Any, ...]:
        """The index, from its arrays."""
        remaining = iter(indices)
        makers: dict[str, Callable[..., Any]] = {
            "array": lambda: next(remaining),
            "slice": slice,
            "as it is": lambda x: x,
        }
        return tuple(makers[kind](*parts) for kind, *parts in self._parts)


def _bound(x: Any) -> int | None:
    # An integer array is not hashable.
    return None if x is None else operator.index(x)


def _set(array: Any, x: Any, *indices: Any, static: StaticIndex) -> list[Any]:
    item = static.index(indices)
    return [array.at[item].set(x, mode="drop", unique_indices=True)]


def _shapes(array: Any, *_: Any, static: StaticIndex) -> list[Any]:
    return [shaped_array(jax.ShapeDtypeStruct(array.shape, array.dtype))]


def _jvp(primals: Any, tangents: Any, *, static: StaticIndex) -> Any:
    # In a higher derivative, `array` may be the buffer after a loop, which contains this write
    # already. So the primal output is JAX's own scatter: its transpose gives the overwritten
    # element a zero cotangent, `_transpose` does not.
    out = _set(*primals, static=static)
    array, x, *indices = primals
    array_t, x_t, *_ = tangents
    if is_zero(array_t) and is_zero(x_t):
        return out, [zero_tangent(array)]
    given = [jnp.zeros_like(p) if is_zero(t) else t for p, t in ((array, array_t), (x, x_t))]
    return out, maybe_set_p.bind(*given, *indices, static=static)


def _transpose(cts: Any, array: Any, x: Any, *indices: Any, static: StaticIndex) -> list[Any]:
    # The cotangent of `array` should be zero at the written elements. It is left nonzero there: no
    # earlier step uses these elements, since they are written once, and the loop masks them at its
    # start (`Marks.untouched`). So this rule only reads the cotangent. If it also wrote zeros, XLA
    # would copy the cotangent in each step.
    (ct,) = cts
    none = [None] * len(indices)
    if is_zero(ct):
        return [ct, zero_cotangent(x), *none]
    found = ct.at[static.index(indices)].get(mode="fill", fill_value=0)
    return [ct, materialise(found, indices) if static.is_read else found, *none]


maybe_set_p: Any = create_vprim("maybe_set", _set, _shapes, _jvp, _transpose)
"""`array.at[item].set(x)` in a loop, for elements that are written once."""


def locate(array: Any, item: Index, pred: Any) -> tuple[Any, ...] | None:
    """An equal index if `pred`, else one that is out of bounds, where JAX writes nothing.

    `None` if the index contains no integer or integer array that could be moved out of bounds.
    """
    items = list(item) if isinstance(item, tuple) else [item]
    found = _first_integer(items, array.ndim)
    if found is None:
        return None
    place, axis = found
    size = array.shape[axis]
    index = jnp.asarray(items[place])
    items[place] = jnp.where((index >= -size) & (index < size) & pred, index, size)
    return tuple(items)


def write(array: Any, item: Index, x: Any, pred: Any, exact: bool, is_read: bool = False) -> Any:
    """`array.at[item].set(x)` if `pred`, in a loop, without reading the array.

    `exact`: use JAX's derivative rules, else those of `maybe_set_p`. `is_read`: whether the loop
    reads any of its buffers.
    """
    place = locate(array, item, pred)
    if place is None:
        return write_anywhere(array, item, x, pred)
    if exact:
        x = jnp.asarray(x).astype(array.dtype)
        return array.at[place].set(x, mode="drop", unique_indices=True)
    indices = [jnp.asarray(i) for i in place if is_array(i)]
    static = StaticIndex(list(place), is_read)
    shape = jax.eval_shape(lambda a, i: a[static.index(i)], array, indices).shape
    x = jnp.broadcast_to(jnp.asarray(x).astype(array.dtype), shape)
    return maybe_set_p.bind(array, x, *indices, static=static)[0]


def write_anywhere(array: Any, item: Index, x: Any, pred: Any, **kwargs: Any) -> Any:
    """`array.at[item].set(x)` if `pred`."""
    old = array[item]
    x = jnp.broadcast_to(jnp.asarray(x).astype(array.dtype), old.shape)
    return array.at[item].set(jnp.where(pred, x, old), **kwargs)


def _first_integer(items: list[Any], ndim: int) -> tuple[int, int] | None:
    """The position of the first integer or integer array in an index, and the axis it indexes.

    `None` if there is none, or if the index contains something else, such as a mask.
    """
    if not all(map(is_plain, items)):
        return None
    for place, item in enumerate(items):
        if isinstance(item, (slice, EllipsisType)) or item is None:
            continue
        before, after = items[:place], items[place:]
        if any(x is Ellipsis for x in before):
            return place, ndim - sum(x is not None for x in after)
        return place, sum(x is not None for x in before)
    return None


def is_plain(x: Any) -> bool:
    """Whether `x`, part of an index, is an integer, an integer array, a slice, `...` or `None`."""
    if x is None or isinstance(x, (slice, EllipsisType)):
        return True
    if is_array(x):
        return jnp.issubdtype(x.dtype, jnp.integer)
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)
