"""The state of a loop as flat lists of arrays: what is carried, and what are buffers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._filters.static_leaf import same_value
from filtered_transforms._filters.static_nodes import is_number
from filtered_transforms._filters.structure_errors import (
    describe,
    number_hint,
    structure_difference,
)
from tree_surgery import path_str

from .buffer import Buffer, Origin, find_buffers, is_buffer
from .write_marks import NEVER, Arrays, Marks, places


class LoopState:
    # The structure of the state, and the arrays that the loop starts with. Numbers are arrays, as
    # for `jax.lax`; all else is static. What the functions of the loop are given for a buffer is a
    # `Buffer` whose origin they must return.
    #
    # `buffers` are the arrays of the buffers, and after them, for each that is tracked, which of
    # its places were written, or, if `timed`, when: in this loop if `track`, else as the loop
    # around it wants to know. `carry` ends with the time of each buffer that has one. `marks` tells
    # which these are.

    def __init__(
        self,
        init: Any,
        buffers: Callable[[Any], Any] | None,
        name: str,
        track: bool = False,
        timed: bool = False,
    ):
        self.name = name
        self._track = track
        leaves, self._treedef = jtu.tree_flatten(init, is_leaf=is_buffer)
        leaves = [jnp.asarray(x) if is_number(x) or is_array(x) else x for x in leaves]
        self._leaves = leaves
        is_dynamic = [is_array(x) or is_buffer(x) for x in leaves]
        self._is_dynamic = is_dynamic
        self._static = split(leaves, is_dynamic)[1]
        found = find_buffers(buffers, self._treedef, leaves, name)
        self._is_buffer = [i in found for i, dynamic in enumerate(is_dynamic) if dynamic]
        given, carry = split(split(leaves, is_dynamic)[0], self._is_buffer)
        self._outer = [x if is_buffer(x) else None for x in given]
        arrays = [x.array if is_buffer(x) else x for x in given]
        begun = [self._begin(*both, timed) for both in zip(arrays, self._outer, strict=True)]
        self._origins = [origin for origin, _, _ in begun]
        written = [x for _, x, _ in begun]
        times = [x for _, _, x in begun]
        self._tracked = [x is not None for x in written]
        self._timed = [x is not None for x in times]
        marks = split(written, self._tracked)[0]
        self.buffers: Arrays = arrays + marks
        self.carry: Arrays = carry + split(times, self._timed)[0]
        self.marks = Marks(
            carried=len(carry),
            times=sum(self._timed),
            tracked=tuple(self._tracked),
            shapes=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in marks),
            is_asked=any(x is not None and x.written is not None for x in self._outer),
            timed=timed,
        )

    def _begin(self, array: Any, outer: Buffer | None, timed: bool) -> tuple[Origin, Any, Any]:
        """Of a buffer: its origin, which of its places are written, or when, and the time."""
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
        """Whether one of its buffers was read while it was traced without times.

        Not if a loop around it needs them for the same reason: then that is traced again anyhow.
        """
        pairs = zip(self._origins, self._outer, strict=True)
        read = [outer for origin, outer in pairs if origin.is_read]
        again = [x is not None and x.written is not None and x.now is None for x in read]
        return len(read) > 0 and not any(again)

    def _tree(self, carry: Arrays, buffers: Arrays) -> Any:
        dynamic = merge(self._is_buffer, buffers, carry[: self.marks.carried])
        return self._treedef.unflatten(merge(self._is_dynamic, dynamic, self._static))

    def given(self, carry: Arrays, buffers: Arrays, pred: Any) -> Any:
        """The state, as the functions of the loop see it while `pred`."""
        wrapped: Arrays = []
        parts = zip(
            *self.marks.apart(buffers), self._times(carry), self._outer, self._origins, strict=True
        )
        for array, written, now, outer, origin in parts:
            allowed = pred if outer is None else jnp.logical_and(pred, outer.pred)
            wrapped.append(Buffer(array, written, now, allowed, origin))
        return self._tree(carry, wrapped)

    def _times(self, carry: Arrays) -> Arrays:
        """Of each buffer, the time, or `None`."""
        carried = self.marks.carried
        if len(carry) == carried:
            return [None] * len(self._timed)
        return merge(self._timed, carry[carried:], [None] * self._timed.count(False))

    def result(self, carry: Arrays, buffers: Arrays) -> Any:
        """The state, as the caller of the loop sees it."""
        found: Arrays = []
        parts = zip(*self.marks.apart(buffers), self._times(carry), self._outer, strict=True)
        for array, written, now, outer in parts:
            if outer is None:
                found.append(array)
                continue
            if self._track:
                written, now = _later(outer, written)
            found.append(Buffer(array, written, now, outer.pred, outer.origin))
        return self._tree(carry, found)

    def returned(self, out: Any) -> tuple[Arrays, Arrays]:
        """The arrays of what the body returned: the carry, and the buffers.

        **Raises:** `ValueError` if its structure is another, `TypeError` if what is no array is.
        """
        leaves, treedef = jtu.tree_flatten(out, is_leaf=is_buffer)
        if treedef != self._treedef:
            example = self._treedef.unflatten(self._leaves)
            path, old, new = structure_difference(example, out)
            raise ValueError(
                f"`{self.name}`: `body_fun` must have the same input and output structure. At "
                f"{path} it was given {describe(old)}, and returned {describe(new)}."
            )
        dynamic, static = split(leaves, self._is_dynamic)
        if not all(map(same_value, self._static, static)):
            raise TypeError(self._static_changed(leaves))
        buffers, carry = split(dynamic, self._is_buffer)
        for buffer, origin in zip(buffers, self._origins, strict=True):
            if not is_buffer(buffer) or buffer.origin is not origin:
                raise ValueError(
                    f"`{self.name}`: `body_fun` must have the same input and output structure. "
                    "What it returns for a buffer must be that buffer, possibly after "
                    f"`.at[...].set(...)`; got {describe(buffer)}."
                )
        written = split([x.written for x in buffers], self._tracked)[0]
        times = split([x.now for x in buffers], self._timed)[0]
        return [self._as_array(x) for x in carry] + times, [x.array for x in buffers] + written

    def _as_array(self, x: Any) -> Any:
        if is_buffer(x):
            raise ValueError(
                f"`{self.name}`: `body_fun` returned a buffer where it was given an array. A "
                "buffer can only stand where it stood."
            )
        if not is_array(x) and not is_number(x):
            raise TypeError(
                f"`{self.name}`: `body_fun` was given an array, and returned {describe(x)}, which "
                "is none."
            )
        return jnp.asarray(x)

    def _static_changed(self, leaves: list[Any]) -> str:
        paths = jtu.tree_leaves_with_path(self._treedef.unflatten(self._leaves), is_leaf=is_buffer)
        for dynamic, (path, old), new in zip(self._is_dynamic, paths, leaves, strict=True):
            if not dynamic and not same_value(old, new):
                return (
                    f"`{self.name}`: the state may not change in what is no array. At "
                    f"{path_str(path)} it was {describe(old)}, and `body_fun` returned "
                    f"{describe(new)}. {number_hint(old)}"
                )
        raise AssertionError("nothing has changed")

    def fit(self, outs: list[Any]) -> bool:
        """Whether the carry has the types `outs`, those of what the body returned for it.

        A weakly typed one (made of a Python number) is given the type that the body returns.

        **Raises:** `ValueError` if it cannot be.
        """
        fits = True
        for i, (x, out) in enumerate(zip(self.carry, outs, strict=True)):
            weak = getattr(jax.typeof(x), "weak_type", False)
            if x.shape == out.shape and x.dtype == out.dtype and (not weak or out.weak_type):
                continue
            with jax.numpy_dtype_promotion("standard"):
                widens = weak and jnp.promote_types(x.dtype, out.dtype) == out.dtype
            if not widens or x.shape != out.shape:
                raise ValueError(self._type_changed(i, x, out))
            self.carry[i] = jax.lax.convert_element_type(x, out.dtype)
            fits = False
        return fits

    def _type_changed(self, i: int, x: Any, out: Any) -> str:
        example = self._tree(list(range(len(self.carry))), [None] * len(self._outer))
        where = next(p for p, leaf in jtu.tree_leaves_with_path(example) if leaf is i)
        return (
            f"`{self.name}`: `body_fun` must have the same input and output structure. At "
            f"{path_str(where)} it was given {describe(x)}, and returned {describe(out)}."
        )


def _later(outer: Buffer, written: Any) -> tuple[Any, Any]:
    """What a loop around knows, and its time, after a loop in it that wrote at `written`."""
    if outer.written is None:
        return None, None
    if outer.now is None:
        return outer.written | places(written), None
    return jnp.where(places(written), outer.now, outer.written), outer.now + 1
