"""Marks: which elements of its buffers a loop wrote. They are arrays of the loop's state.

A mark has the shape of its buffer: a `bool` says whether an element was written, an `int32` says
when. Derivatives need marks for two reasons. The cotangent of a written element must not reach the
buffer from before the loop. And a read in the backward pass must know whether the element had been
written by then. A loop that is not differentiated has no marks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from filtered_transforms._filters.partition import merge

Arrays = list[Any]

NEVER = 2**31 - 1  # the time of an element that has not been written


class Marks(NamedTuple):
    """Which arrays of a loop's state are marks, and their shapes.

    It holds no arrays: the derivative rules of a loop hold it, and outlive the trace.

    - `carried`: the length of the carry without times. It is followed by `times` scalars: the
        current time of each buffer whose mark holds times.
    - `tracked`: for each buffer, whether it has a mark. The marks follow the buffers.
    - `shapes`: those of the marks.
    - `is_asked`: whether an enclosing loop needs the marks at the end of this one.
    - `timed`: whether the marks are times.
    """

    carried: int
    times: int
    tracked: tuple[bool, ...]
    shapes: tuple[jax.ShapeDtypeStruct, ...]
    is_asked: bool
    timed: bool

    def added(
        self, carry: Arrays, buffers: Arrays, all_written: bool = False
    ) -> tuple[Arrays, Arrays]:
        """`carry` and `buffers` with new marks: no element is written, or all are.

        The marks are created in the current trace.
        """
        mark = -1 if all_written else NEVER
        times = [jnp.int32(0)] * self.times
        marks = [
            jnp.full(x.shape, all_written if x.dtype == bool else mark, x.dtype)
            for x in self.shapes
        ]
        return [*carry, *times], [*buffers, *marks]

    def removed(self, carry: Arrays, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """`carry` and `buffers` without the marks."""
        return carry[: self.carried], buffers[: len(self.tracked)]

    def asked(self, carry: Arrays, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """`carry` and `buffers`, with marks if an enclosing loop needs them."""
        return (carry, buffers) if self.is_asked else self.removed(carry, buffers)

    def parted(self, buffers: Arrays) -> tuple[Arrays, Arrays]:
        """The arrays of the buffers, and the mark of each, or `None`."""
        count = len(self.tracked)
        if len(buffers) == count:
            return buffers, [None] * count
        nothing = [None] * self.tracked.count(False)
        return buffers[:count], merge(list(self.tracked), buffers[count:], nothing)

    def untouched(self, buffers: Arrays, values: Arrays) -> Arrays:
        """`values`, one for each array of `buffers`, with zeros where the loop wrote to a buffer.

        The value of such an element before the loop does not affect the result.
        """
        masks = self.parted(buffers)[1]
        beyond = [None] * (len(values) - len(self.tracked))
        return [
            x if mask is None or x is None else jnp.where(was_written(mask), jnp.zeros_like(x), x)
            for x, mask in zip(values, masks + beyond, strict=True)
        ]


def was_written(mark: Any) -> Any:
    """Which elements were written, by a mark of either kind."""
    return mark if mark.dtype == bool else mark != NEVER
