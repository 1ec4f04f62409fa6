"""Marks of what a loop writes to its buffers, among the arrays of its state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from filtered_transforms._filters.partition import merge

Arrays = list[Any]

NEVER = 2**31 - 1  # the time of a write that has not been


class Marks(NamedTuple):
    # Which arrays of a loop's state are marks, and what they look like; not these arrays, since the
    # rules of a loop's derivatives live as long as the programs that it is part of.
    #
    # - `carried`: how many arrays of the carry are none. After them there are `times` that are.
    # - `tracked`: of each buffer, whether it has a mark. They stand after the buffers.
    # - `shapes`: of those marks. A `bool` tells that a place was written; an `int32` tells when.
    # - `is_asked`: whether somebody wants to know at the end what was written, or when.
    # - `timed`: whether the marks are times.

    carried: int
    times: int
    tracked: tuple[bool, ...]
    shapes: tuple[jax.ShapeDtypeStruct, ...]
    is_asked: bool
    timed: bool

    def added(
        self, carry: Arrays, buffers: Arrays, all_written: bool = False
    ) -> tuple[Arrays, Arrays]:
        """`carry` and `buffers`, with marks of what is written: nothing yet, or all.

        The marks are made anew, in whatever is traced.
        """
        mark = -1 if all_written else NEVER
        times = [jnp.int32(0)] * self.times
        marks = [
            jnp.full(x.shape, all_written if x.dtype == bool else mark, x.dtype)
            for x in self.shapes
        ]
        return [*carry, *times], [*buffers, *marks]

    def removed(self, carry: Arrays, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """Those of `carry` and `buffers` that are no marks."""
        return carry[: self.carried], buffers[: len(self.tracked)]

    def asked(self, carry: Arrays, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """Those of `carry` and `buffers` that the caller of the loop wants."""
        return (carry, buffers) if self.is_asked else self.removed(carry, buffers)

    def parted(self, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """The arrays of the buffers, and for each which places were written, when, or `None`."""
        count = len(self.tracked)
        if len(buffers) == count:
            return buffers, [None] * count
        nothing = [None] * self.tracked.count(False)
        return buffers[:count], merge(list(self.tracked), buffers[count:], nothing)

    def untouched(self, buffers: Arrays, values: Arrays) -> Arrays:
        """`values`, one for each of the arrays `buffers`, with zeros where a buffer was written."""
        masks = self.parted(buffers)[1]
        beyond = [None] * (len(values) - len(self.tracked))
        return [
            x if mask is None or x is None else jnp.where(was_written(mask), jnp.zeros_like(x), x)
            for x, mask in zip(values, masks + beyond, strict=True)
        ]


def was_written(mark: Any) -> Any:
    """Which places were written, of which it is known, or of which it is known when."""
    return mark if mark.dtype == bool else mark != NEVER
