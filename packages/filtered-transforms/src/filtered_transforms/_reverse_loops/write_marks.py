"""Marks of what a loop writes to its buffers, among the arrays of its state.

A mark is an array of the shape of its buffer: a `bool` says that an element was written, an `int32`
says when. Derivatives need them: the cotangent of an element that the loop wrote is no cotangent of
what the element was before the loop; and a read on the way back must know whether the element had
been written by then. A loop that is not differentiated has none.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from filtered_transforms._filters.partition import merge

Arrays = list[Any]

NEVER = 2**31 - 1  # the time of a write that has not been


class Marks(NamedTuple):
    """Which arrays of a loop's state are marks, and their shapes.

    Not the arrays: the rules of a loop's derivatives hold this, and outlive the trace.

    - `carried`: how many arrays of the carry are no marks. After them stand `times` scalars: the
        time now, of each buffer whose mark holds times.
    - `tracked`: for each buffer, whether it has a mark. The marks stand after the buffers.
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

        Where it wrote, what was there before the loop has no part in the result.
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
