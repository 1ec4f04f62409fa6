"""`read_p`: reading a buffer in a differentiated loop that also writes to it.

A read also returns the array, and the rest of the body uses the returned array (`handed_on`). So in
reverse mode the cotangent of the read element is added in place to the cotangent of the array.
Otherwise the array would have two uses, and each step would allocate a cotangent for the read:
zeros, as large as the array.
"""

from typing import Any

import jax
import jax.numpy as jnp

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.operands import is_zero, shaped_array, zero_tangent, zeros_of
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
        to_array = zeros_of(array)
    # Same out-of-bounds modes as the gradient of JAX's indexing: clip for scalar indices, drop for
    # index arrays.
    mode = "clip" if all(x.ndim == 0 for x in indices) else "drop"
    return [to_array.at[static.index(indices)].add(to_found, mode=mode), *none]


read_p: Any = create_vprim("read_place", _read, _shapes, _jvp, _transpose)
"""`array[item]`, and the array. Later equations use the returned array (`handed_on`), so that the
cotangent of the read element is added in place."""


def read(array: Any, item: Index) -> Any:
    """`array[item]`, in a loop."""
    items, indices = _parts(item)
    if not all(map(is_plain, items)):
        return array[item]
    return read_p.bind(array, *indices, static=StaticIndex(items))[0]


def materialised_read(x: Any, item: Index) -> Any:
    """`x`, which was read at `item` of an array that the loop also writes: see `materialise`."""
    items, indices = _parts(item)
    return materialise(x, indices) if all(map(is_plain, items)) else x


def _parts(item: Index) -> tuple[list[Any], list[Any]]:
    items = list(item) if isinstance(item, tuple) else [item]
    return items, [jnp.asarray(i) for i in items if is_array(i)]
