"""What a failed check has seen, as a few numbers, where its predicate lies on several devices.

The program itself fails there, on all devices alike, and each has only a part of the predicate.
Sums and minima say which elements failed: no part is sent from one device to another.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Failed:
    """Which elements of a predicate are true, and the values that belong to them.

    - `index`: the first few of them, of `count`, in an array of so many elements, `size`; nothing,
        if the predicate is a scalar.
    - `which`: among several messages, the number of the one to be raised.
    - `values`: of the shape of the predicate, that of the first such element; others whole.
    """

    index: tuple[tuple[int, ...], ...]
    count: int
    size: int
    which: int
    values: tuple[Any, ...]

    @classmethod
    def seen(cls, predicate: Any, values: Sequence[Any], has_which: bool) -> "Failed":
        """From the predicate itself."""
        predicate = np.asarray(predicate)
        found = np.argwhere(predicate)
        values = [np.asarray(x) for x in values]
        which = 0
        if has_which and values:
            indices, *values = values
            same = indices.shape == predicate.shape
            which = int((indices[predicate] if same else indices).max(initial=0))
        first = tuple(found[0]) if len(found) else ()
        index = tuple(tuple(map(int, row)) for row in found[:SHOWN]) if predicate.ndim else ()
        own = tuple(
            x[first] if x.shape[: len(first)] == predicate.shape else np.asarray(x) for x in values
        )
        return cls(index, len(found), predicate.size, which, own)

    @classmethod
    def told(cls, summary: Sequence[Any], shape: tuple[int, ...], has_which: bool) -> "Failed":
        """From a summary, of a predicate that had this shape in all."""
        numbers, *values = [np.asarray(x) for x in summary]
        count, which, *firsts = map(int, numbers)
        size = math.prod(shape)
        index = tuple(
            tuple(map(int, np.unravel_index(i, shape))) for i in firsts if shape and i < size
        )
        return cls(index, count, size, which if has_which else 0, tuple(values))


class Shards:
    """How a program speaks of an array that lies on several devices.

    With `axes`, those of a `shard_map`, each device sees its own shard of it, and the whole has one
    more axis in front, for the shards. Without, JAX knows the whole.
    """

    def __init__(self, axes: tuple[str, ...] = ()):
        self.axes = axes
        self.count = jax.lax.axis_size(axes) if axes else 1

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the whole, of which each device sees this shape."""
        return (self.count, *shape) if self.axes else shape

    def any(self, x: Any) -> Any:
        failed = jnp.any(x)
        return self.sum(failed.astype(jnp.int32)) > 0 if self.axes else failed

    def sum(self, x: Any) -> Any:
        return jax.lax.psum(x, self.axes) if self.axes else x

    def min(self, x: Any) -> Any:
        return jax.lax.pmin(x, self.axes) if self.axes else x

    def max(self, x: Any) -> Any:
        return jax.lax.pmax(x, self.axes) if self.axes else x

    def summary(
        self, predicate: Any, values: Sequence[Any], has_which: bool, whole: int
    ) -> list[Any]:
        """What `Failed.told` reads, the same on each device. The last values, `whole`, are kept."""
        number = _numbers(predicate.shape)
        if self.axes:
            number = number + jax.lax.axis_index(self.axes) * np.int32(predicate.size)
        none = np.int32(np.iinfo(np.int32).max)
        first, firsts = np.int32(-1), list[Any]()
        for _ in range(SHOWN):
            later = jnp.where(predicate & (number > first), number, none)
            first = self.min(jnp.min(later, initial=none))
            firsts.append(first)
        which: Any = np.int32(0)
        if has_which:
            indices, *values = values
            indices = indices.astype(jnp.int32)
            if indices.shape == predicate.shape:
                indices = jnp.where(predicate, indices, 0)
            which = self.max(jnp.max(indices, initial=0))
        count = self.sum(jnp.sum(predicate.astype(jnp.int32)))
        here = predicate & (number == firsts[0])
        own = [self._of_first(x, here, i >= len(values) - whole) for i, x in enumerate(values)]
        return [jnp.stack([count, jnp.asarray(which, jnp.int32), *firsts]), *own]

    def _of_first(self, x: Any, here: Any, whole: bool) -> Any:
        dtype = x.dtype
        x = x.astype(jnp.int32) if jnp.issubdtype(dtype, jnp.bool_) else x
        if x.shape[: here.ndim] == here.shape and not whole:
            masked = jnp.where(here.reshape(here.shape + (1,) * (x.ndim - here.ndim)), x, 0)
            x = jnp.sum(masked.astype(x.dtype), axis=tuple(range(here.ndim)), dtype=x.dtype)
        elif self.axes:  # each shard has one: that of the shard which has failed
            x = jnp.where(jnp.any(here), x, jnp.zeros_like(x))
        else:
            return x.astype(dtype)
        return self.sum(x).astype(dtype)


def _numbers(shape: tuple[int, ...]) -> Any:
    """The elements of an array counted through."""
    number = jnp.zeros(shape, jnp.int32)
    for axis in range(len(shape)):
        stride = np.int32(math.prod(shape[axis + 1 :]))
        number = number + jax.lax.broadcasted_iota(jnp.int32, shape, axis) * stride
    return number
