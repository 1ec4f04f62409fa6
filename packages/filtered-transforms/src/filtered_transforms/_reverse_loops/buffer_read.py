"""`read_p`: reading an array in the midst of a loop that writes to it and is differentiated.

A read returns the array as well, and what comes after it in the body uses that one. So in
reverse the cotangent of what was read is added to that of the array in place. As two uses of one
array, the read would have a cotangent of its own, of zeros and as large as the array, in each step.
"""

from typing import Any

import jax
import jax.numpy as jnp

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax import is_zero, shaped_array, zero_tangent
from filtered_transforms._primitives.vprim import create_vprim
from filtered_transforms._types import Index

from .masked_write import StaticIndex, is_plain
from .materialise import materialise


def _read(array: Any, *indices: Any, static: StaticIndex) -> list[Any]:
    return [array[static.index(indices)], array]


def _shapes(array: Any, *indices: Any, static: StaticIndex) -> list[Any]:
    whole, *others = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (array, *indices))
    out = jax.eval_shape(lambda *operands: _read(*operands, static=static), whole, *others)
    return list(map(shaped_array, out))


def _jvp(primals: Any, tangents: Any, *, static: StaticIndex) -> Any:
    out = read_p.bind(*primals, static=static)
    if is_zero(tangents[0]):
        return out, [zero_tangent(x) for x in out]
    return out, read_p.bind(tangents[0], *primals[1:], static=static)


def _transpose(cts: Any, array: Any, *indices: Any, static: StaticIndex) -> list[Any]:
    to_found, to_array = cts
    none = [None] * len(indices)
    if is_zero(to_found):
        return [to_array, *none]
    if is_zero(to_array):
        to_array = jnp.zeros(array.aval.shape, array.aval.dtype)
    # As JAX does: out of bounds, an integer is clipped, and what is of an array of them is dropped.
    mode = "clip" if all(x.ndim == 0 for x in indices) else "drop"
    return [to_array.at[static.index(indices)].add(to_found, mode=mode), *none]


read_p: Any = create_vprim("read_place", _read, _shapes, _jvp, _transpose)
"""`array[item]`, and the array. Where it is the latter that is read and written from then on
(`handed_on`), the derivative of what is read is added to that of the array in place."""


def read(array: Any, item: Index) -> Any:
    """`array[item]`, in a loop."""
    items, indices = _parts(item)
    if not all(map(is_plain, items)):
        return array[item]
    return read_p.bind(array, *indices, static=StaticIndex(items))[0]


def materialised_read(x: Any, item: Index) -> Any:
    """`x`, which was read at `item` of an array that is also written: see `materialise`."""
    items, indices = _parts(item)
    return materialise(x, indices) if all(map(is_plain, items)) else x


def _parts(item: Index) -> tuple[list[Any], list[Any]]:
    items = list(item) if isinstance(item, tuple) else [item]
    return items, [jnp.asarray(i) for i in items if is_array(i)]
