"""The state of a loop as two flat lists of arrays: the carry and the buffers.

Invariants:

- The functions of the loop take the user's tree, with a `Buffer` in place of each array that is a
  buffer. They must return the same tree: the same buffers at the same places, equal static leaves,
  arrays of the same type.
- Everything else takes two lists, `carry` and `buffers`. Checkpoints store the carry, and a stopped
  example of a batch keeps its carry by a select. Neither happens to buffers. So the marks of a
  buffer, which are as large as its array, are in `buffers`; its time, a scalar, is in the carry.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._filters.static_leaf import same_static
from filtered_transforms._filters.static_nodes import is_number
from filtered_transforms._filters.structure_errors import (
    describe,
    number_hint,
    structure_difference,
)
from tree_surgery import path_str

from .buffer import Buffer, Origin, find_buffers, is_buffer
from .loop_options import Caller, LoopOptions
from .write_marks import NEVER, Arrays, Marks, was_written


class _Structure:
    """The tree of the state: the positions of its arrays, buffers and static leaves.

    Numbers are arrays here, as for `jax.lax`. A caller for whom numbers are static wraps them in
    nodes (`hold`), so that they are not leaves of this tree.
    """

    def __init__(self, init: Any, buffers: Callable[[Any], Any] | None, name: str):
        leaves, self.treedef = jtu.tree_flatten(init, is_leaf=is_buffer)
        self.leaves = [jnp.asarray(x) if is_number(x) or is_array(x) else x for x in leaves]
        self.is_dynamic = [is_array(x) or is_buffer(x) for x in self.leaves]
        found = find_buffers(buffers, self.treedef, self.leaves, name)
        self._is_buffer = [i in found for i, dynamic in enumerate(self.is_dynamic) if dynamic]
        self.static = self.parts(self.leaves)[2]

    def parts(self, leaves: list[Any]) -> tuple[Arrays, Arrays, list[Any]]:
        """The leaves that are carried, those that are buffers, and the static ones."""
        dynamic, static = split(leaves, self.is_dynamic)
        buffers, carry = split(dynamic, self._is_buffer)
        return carry, buffers, static

    def tree(self, carry: Arrays, buffers: Arrays) -> Any:
        """The inverse of `parts`, for a tree with the same static leaves."""
        dynamic = merge(self._is_buffer, buffers, carry)
        return self.treedef.unflatten(merge(self.is_dynamic, dynamic, self.static))

    def example(self) -> Any:
        """The tree of the initial state."""
        return self.treedef.unflatten(self.leaves)


class LoopState:
    """The initial arrays of a loop, and the conversions between its trees and lists of arrays.

    - `carry`: the carry, followed by the time of each buffer that has one.
    - `buffers`: the arrays of the buffers, followed by the mark of each tracked one: which of its
        elements were written, or, if `timed`, when. With `track` the marks are those of this loop,
        else those that an enclosing loop keeps.
    - `marks`: which of these arrays are marks.
    """

    def __init__(self, init: Any, options: LoopOptions, track: bool = False, timed: bool = False):
        self.caller: Caller = options.caller
        self._track = track
        self._structure = _Structure(init, options.buffers, options.caller.name)
        carry, given, _ = self._structure.parts(self._structure.leaves)
        arrays, self._outer = _unwrapped(given)
        begun = [self._begin(*both, timed) for both in zip(arrays, self._outer, strict=True)]
        self._origins = [origin for origin, _, _ in begun]
        self._tracked, marks = _present([mark for _, mark, _ in begun])
        self._timed, times = _present([time for _, _, time in begun])
        self.buffers: Arrays = arrays + marks
        self.carry: Arrays = carry + times
        self.marks = Marks(
            carried=len(carry),
            times=len(times),
            tracked=tuple(self._tracked),
            shapes=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in marks),
            is_asked=any(x is not None and x.written is not None for x in self._outer),
            timed=timed,
        )

    def _begin(self, array: Any, outer: Buffer | None, timed: bool) -> tuple[Origin, Any, Any]:
        """For one buffer: its origin, its initial mark, and its initial time.

        Mark and time may be `None`.
        """
        origin = Origin(not self._track, None if outer is None else outer.origin)
        around = None if outer is None or outer.now is None else outer
        if not self._track:
            if around is not None:
                origin.first, origin.around = around.origin.first, around.origin.around
            return (origin, None, None) if outer is None else (origin, outer.written, outer.now)
        if not timed:
            return origin, jnp.zeros(array.shape, bool), None
        origin.first = array
        if around is not None:
            origin.first = around.origin.first
            origin.around = [(around.written, around.now), *around.origin.around]
        return origin, jnp.full(array.shape, NEVER, jnp.int32), jnp.int32(0)

    @property
    def needs_times(self) -> bool:
        """Whether to retrace with write times.

        That is: a buffer was read, and no enclosing loop will retrace anyway.
        """
        pairs = zip(self._origins, self._outer, strict=True)
        read = [outer for origin, outer in pairs if origin.is_read]
        again = [x is not None and x.written is not None and x.now is None for x in read]
        return len(read) > 0 and not any(again)

    def _tree(self, carry: Arrays, buffers: Arrays) -> Any:
        return self._structure.tree(carry[: self.marks.carried], buffers)

    def given(self, carry: Arrays, buffers: Arrays, pred: Any) -> Any:
        """The state, as the functions of the loop see it. Buffers are written only if `pred`."""
        wrapped: Arrays = []
        parts = zip(
            *self.marks.parted(buffers), self._times(carry), self._outer, self._origins, strict=True
        )
        for array, written, now, outer, origin in parts:
            # If an enclosing loop has stopped for this example, no write may happen either.
            allowed = pred if outer is None else jnp.logical_and(pred, outer.pred)
            wrapped.append(Buffer(array, written, now, allowed, origin))
        return self._tree(carry, wrapped)

    def _times(self, carry: Arrays) -> Arrays:
        """For each buffer its time, or `None`."""
        carried = self.marks.carried
        if len(carry) == carried:
            return [None] * len(self._timed)
        return merge(self._timed, carry[carried:], [None] * self._timed.count(False))

    def result(self, carry: Arrays, buffers: Arrays) -> Any:
        """The state, as the caller of the loop sees it."""
        found: Arrays = []
        parts = zip(*self.marks.parted(buffers), self._times(carry), self._outer, strict=True)
        for array, written, now, outer in parts:
            if outer is None:
                found.append(array)
                continue
            if self._track:
                written, now = _later(outer, written)
            found.append(Buffer(array, written, now, outer.pred, outer.origin))
        return self._tree(carry, found)

    def returned(self, out: Any) -> tuple[Arrays, Arrays]:
        """The arrays of the tree that the body returned: the carry, and the buffers.

        **Raises:** the error of the caller if the structure differs; `TypeError` if a static
        leaf does.
        """
        structure = self._structure
        leaves, treedef = jtu.tree_flatten(out, is_leaf=is_buffer)
        if treedef != structure.treedef:
            example = structure.example()
            path, old, new = structure_difference(example, out)
            raise self._changed(path, old, new)
        carry, buffers, static = structure.parts(leaves)
        if not all(map(same_static, structure.static, static)):
            raise TypeError(self._static_changed(leaves))
        for buffer, origin in zip(buffers, self._origins, strict=True):
            if not is_buffer(buffer) or buffer.origin is not origin:
                raise self.caller.error(_not_the_buffer(self.caller, buffer))
        marks = split([x.written for x in buffers], self._tracked)[0]
        times = split([x.now for x in buffers], self._timed)[0]
        return [self._as_array(x) for x in carry] + times, [x.array for x in buffers] + marks

    def _changed(self, path: str, old: Any, new: Any) -> Exception:
        name, body, error, _ = self.caller
        return error(
            f"`{name}`: `{body}` must have the same input and output structure. At {path} it was "
            f"given {describe(old)}, and returned {describe(new)}."
        )

    def _as_array(self, x: Any) -> Any:
        name, body, error, _ = self.caller
        if is_buffer(x):
            raise error(_misplaced_buffer(self.caller))
        if not is_array(x) and not is_number(x):
            raise TypeError(
                f"`{name}`: `{body}` was given an array, and returned {describe(x)}, which is none."
            )
        return jnp.asarray(x)

    def _static_changed(self, leaves: list[Any]) -> str:
        name, body, _, _ = self.caller
        paths = jtu.tree_leaves_with_path(self._structure.example(), is_leaf=is_buffer)
        for dynamic, (path, old), new in zip(
            self._structure.is_dynamic, paths, leaves, strict=True
        ):
            if not dynamic and not same_static(old, new):
                return (
                    f"`{name}`: the state may not change its non-array leaves. At "
                    f"{path_str(path)} it was {describe(old)}, and `{body}` returned "
                    f"{describe(new)}. {number_hint(old)}"
                )
        raise AssertionError("nothing has changed")

    def fit(self, outs: list[Any]) -> bool:
        """Whether the carry has the types `outs` that the body returned for it.

        A weakly typed array (made from a Python number) is converted to the type of the output.

        **Raises:** the error of the caller if the types differ otherwise.
        """
        fits = True
        for i, (x, out) in enumerate(zip(self.carry, outs, strict=True)):
            weak = getattr(jax.typeof(x), "weak_type", False)
            if x.shape == out.shape and x.dtype == out.dtype and (not weak or out.weak_type):
                continue
            # Not the promotion that the user has set: `jax.lax` widens a weak carry under any.
            with jax.numpy_dtype_promotion("standard"):
                widens = weak and jnp.promote_types(x.dtype, out.dtype) == out.dtype
            if not widens or x.shape != out.shape:
                raise self._type_changed(i, x, out)
            self.carry[i] = jax.lax.convert_element_type(x, out.dtype)
            fits = False
        return fits

    def _type_changed(self, i: int, x: Any, out: Any) -> Exception:
        example = self._tree(list(range(len(self.carry))), [None] * len(self._outer))
        where = next(p for p, leaf in jtu.tree_leaves_with_path(example) if leaf is i)
        return self._changed(path_str(where[self.caller.depth :]), x, out)


def _unwrapped(buffers: list[Any]) -> tuple[Arrays, list[Buffer | None]]:
    """The arrays of buffers, and for each the `Buffer` of the enclosing loop, if there is one."""
    arrays = [x.array if is_buffer(x) else x for x in buffers]
    return arrays, [x if is_buffer(x) else None for x in buffers]


def _present(values: list[Any]) -> tuple[list[bool], list[Any]]:
    """Which values are not `None`, and these values."""
    mask = [x is not None for x in values]
    return mask, split(values, mask)[0]


def check_buffers(given: Any, out: Any, caller: Caller) -> None:
    """**Raises:** the error of the caller if the buffers of `out` are not those of `given`.

    Trees of different structure are ignored here: the caller compares the structures itself.
    """
    before, treedef = jtu.tree_flatten_with_path(given, is_leaf=is_buffer)
    after, found = jtu.tree_flatten(out, is_leaf=is_buffer)
    if treedef != found:
        return
    for (path, old), new in zip(before, after, strict=True):
        if is_buffer(old) and not (is_buffer(new) and new.origin is old.origin):
            raise caller.error(_not_the_buffer(caller, new, f" At {path_str(path)} it"))
        if is_buffer(new) and not is_buffer(old):
            raise caller.error(_misplaced_buffer(caller, f" At {path_str(path)} it"))


def _not_the_buffer(caller: Caller, found: Any, where: str = " It") -> str:
    shown = f"another buffer, {describe(found.array)}" if is_buffer(found) else describe(found)
    return (
        f"`{caller.name}`: `{caller.body}` must have the same input and output structure. What it "
        "returns for a buffer must be that buffer, possibly after `.at[...].set(...)`."
        f"{where} returned {shown}."
    )


def _misplaced_buffer(caller: Caller, where: str = " It") -> str:
    return (
        f"`{caller.name}`: a buffer can only stand where it stood.{where} was an array, and "
        f"`{caller.body}` returned a buffer. Read it, as `buffer[i]`."
    )


def _later(outer: Buffer, written: Any) -> tuple[Any, Any]:
    """Marks and time of the enclosing loop after an inner loop wrote the elements in `written`."""
    if outer.written is None:
        return None, None
    if outer.now is None:
        return outer.written | was_written(written), None
    return jnp.where(was_written(written), outer.now, outer.written), outer.now + 1
