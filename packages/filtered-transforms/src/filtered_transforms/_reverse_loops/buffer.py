"""Buffers: arrays in the carry of a loop that are written element by element, and never copied.

Invariants:

- Each element is written at most once, which the user promises. So the array after the loop holds
  what every step wrote, and the backward pass needs no earlier version of it.
- A read gives the value at the time of the read. An element written before has its final value, in
  the array after the loop. Any other element has its value from before the loop. The write times
  distinguish the two.
- A write goes out of bounds if its example has stopped, or if its `pred` is False: then JAX drops
  it. So no loop selects between an old and a new buffer, which would copy the buffer.
- An `Origin` is compared by identity. So the loop can check that the body returned this buffer, and
  not another one of the same shape.
"""

from collections.abc import Callable
from typing import Any, Union

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.typing import ArrayLike

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._types import Index, Scalar, T
from tree_surgery.extend import public

from .buffer_read import materialised_read, read
from .masked_write import write, write_anywhere


class Origin:
    """Identity of one buffer in one loop. Compared with `is`.

    - `exact`: whether a write has the exact derivative by itself; else the rules of `maybe_set_p`
        are used, which are exact together with the marks of the loop.
    - `first`: the array before the outermost enclosing loop that keeps times; `None` if no loop
        does.
    - `around`: for each enclosing loop that keeps times, its write times, and the time at which
        this loop begins.
    - `outer`: the origin of the same buffer in the next enclosing loop.
    - `is_read`: whether it was indexed while the loop was traced.
    """

    __slots__ = ("around", "exact", "first", "is_read", "outer")

    def __init__(self, exact: bool, outer: "Origin | None"):
        self.exact = exact
        self.outer = outer
        self.first: Any = None
        self.around: list[tuple[Any, Any]] = []
        self.is_read = False

    def mark_read(self) -> None:
        origin: Origin | None = self
        while origin is not None:
            origin.is_read = True
            origin = origin.outer


class Buffer:
    """A buffer, as the functions of a loop see it: indexed by `[]`, written by `.at[].set`.

    - `pred`: whether the loop still runs for this example; else its writes are dropped.
    - `written`: which elements have been written, if the loop can be differentiated in reverse,
        else `None`. If the loop reads buffers: when they were written.
    - `now`: the time, if `written` holds times, else `None`. It counts the writes.

    In the backward pass `array` and `written` are those after the loop.
    """

    __slots__ = ("array", "now", "origin", "pred", "written")

    def __init__(self, array: Any, written: Any, now: Any, pred: Any, origin: Origin):
        self.array = array
        self.written = written
        self.now = now
        self.pred = pred
        self.origin = origin

    def with_array(self, array: Any) -> "Buffer":
        return Buffer(array, self.written, self.now, self.pred, self.origin)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    @property
    def size(self) -> int:
        return self.array.size

    @property
    def ndim(self) -> int:
        return self.array.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> Any:
        origin = self.origin
        origin.mark_read()
        found = read(self.array, index)
        if self.now is not None:
            # In the backward pass `array` is the array after the loop. An element written before
            # `now`, or by an enclosing loop before this one began, already has its final value. Any
            # other element still had its value in `first`.
            known = self.written[index] < self.now
            for written, start in origin.around:
                known = known | (written[index] < start)
            found = jnp.where(known, found, origin.first[index])
        return materialised_read(found, index)

    @property
    def at(self) -> "_At":
        return _At(self)

    def __repr__(self) -> str:
        return f"Buffer({self.array!r})"

    def _refuse_whole(self, *_: Any, **__: Any) -> Any:
        # Without these, NumPy would read a buffer element by element, for ever when it is traced.
        raise TypeError(
            f"A buffer of a loop ({self.dtype}{list(self.shape)}) is not an array. It is read "
            "element by element, as `buffer[i]`. The whole array is `buffer[...]`; leave it out of "
            "`buffers` if most steps need all of it."
        )

    __array__ = __jax_array__ = __iter__ = _refuse_whole


def _rebuilt(origin: Origin, children: Any) -> Buffer:
    array, written, now, pred = children
    return Buffer(array, written, now, pred, origin)


_CHILDREN = ("array", "written", "now", "pred")

jtu.register_pytree_with_keys(
    Buffer,
    lambda b: (tuple((jtu.GetAttrKey(k), getattr(b, k)) for k in _CHILDREN), b.origin),
    _rebuilt,
    lambda b: ((b.array, b.written, b.now, b.pred), b.origin),
)


class _At:
    """`buffer.at`, to be indexed."""

    __slots__ = ("buffer",)

    def __init__(self, buffer: Buffer):
        self.buffer = buffer

    def __getitem__(self, index: Index) -> "_AtIndex":
        return _AtIndex(self.buffer, index)


class _AtIndex:
    """`buffer.at[index]`, to be written by `set`."""

    __slots__ = ("buffer", "index")

    def __init__(self, buffer: Buffer, index: Index):
        self.buffer = buffer
        self.index = index

    def set(self, x: Any, *, pred: Any = True, **_: Any) -> Buffer:
        """The buffer with `x` at this index, if `pred`. Other options are ignored."""
        buffer = self.buffer
        allowed = buffer.pred if pred is True else jnp.logical_and(buffer.pred, pred)
        written, now = buffer.written, buffer.now
        if written is not None:
            mark = True if now is None else _after(now, x)
            # `exact=True`: marks are booleans or integers, so no derivative rule is needed.
            written = write(written, self.index, mark, allowed, exact=True)
        timed = now is not None
        array = write(buffer.array, self.index, x, allowed, buffer.origin.exact, timed)
        later = now + 1 if timed else None
        return Buffer(array, written, later, buffer.pred, buffer.origin)


def _after(now: Any, x: Any) -> Any:
    """`now`, with a data dependence on `x`: it is written after the inputs of `x` were computed.

    These may have read the times. If that read is not ordered before this write, XLA:CPU copies the
    times in each step. The added number is zero, but XLA cannot prove it: it does not know that a
    comparison cast to an integer is never negative. Needed with JAX 0.7.2, 0.10.2 and 0.12.0;
    remove it when `test_compiler_tricks.py` finds no copy without it.
    """
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return now
    return now + jnp.minimum((jnp.real(x) > jnp.zeros((), x.real.dtype)).astype(jnp.int32), 0)


@public("filtered_transforms.extend")
class MaybeBuffer:
    """For annotations: `MaybeBuffer[X]` is `X`, or the buffer that replaces an `X` in a loop.

    A field of a loop's state that is among its `buffers` holds an array outside of the loop, and
    within the loop something that can be indexed, and written by `.at[...].set(...)`.

    ```python
    import jax
    from filtered_transforms.extend import MaybeBuffer
    from pytree_module import Module

    class State(Module):
        step: jax.Array
        saved: MaybeBuffer[jax.Array]
    ```
    """

    def __class_getitem__(cls, index: Any) -> Any:
        return Union[index, Buffer]  # noqa: UP007  (a string has no `|`)


def is_buffer(x: Any) -> bool:
    """Whether `x` is a buffer of a loop."""
    return x.__class__ is Buffer


@public("filtered_transforms.extend")
def buffer_at_set(buffer: T, item: Index, x: ArrayLike, *, pred: Scalar = True, **kwargs: Any) -> T:
    """`buffer.at[item].set(x)` if `pred`, for buffers of loops and for arrays.

    For functions that run both in the body of `while_loop` or `scan`, where `buffer` is a buffer,
    and outside of it, where `buffer` is an array.

    **Arguments:**

    - `buffer`: an array, or a buffer of a loop.
    - `item`: an index, as in `buffer[item]`. Of an array of indices no two may be equal.
    - `x`: what is written, broadcast against `buffer[item]`.
    - `pred`: a scalar `bool`, traced or not: whether to write at all.
    - `**kwargs`: as for `jax.Array.at[...].set`.

    **Returns:** the updated array or buffer.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import buffer_at_set

    x = jnp.zeros(3)
    assert buffer_at_set(x, 1, 5.0).tolist() == [0, 5, 0]
    assert buffer_at_set(x, 1, 5.0, pred=jnp.array(False)).tolist() == [0, 0, 0]
    ```
    """
    written: Any = buffer
    if is_buffer(written):
        return written.at[item].set(x, pred=pred, **kwargs)
    if pred is True:
        return written.at[item].set(x, **kwargs)
    return write_anywhere(jnp.asarray(written), item, x, pred, **kwargs)


def find_buffers(
    buffers: Callable[[Any], Any] | None, treedef: Any, leaves: list[Any], name: str
) -> set[int]:
    """Which leaves are buffers: those that `buffers` picks, and those that already are.

    **Raises:** `TypeError` if it picks a non-array leaf of the tree.
    """
    found = {i for i, leaf in enumerate(leaves) if is_buffer(leaf)}
    if buffers is None:
        return found
    places = [i for i, leaf in enumerate(leaves) if is_array(leaf) or is_buffer(leaf)]

    def pick(arrays: list[Any]) -> None:
        # Tracers are distinct objects, even if the tree contains one array twice.
        given = leaves[:]
        by_id: dict[int, int] = {}
        for i, array in zip(places, arrays, strict=True):
            old = leaves[i]
            given[i] = old.with_array(array) if is_buffer(old) else array
            by_id[id(array)] = i
        picked = jtu.tree_leaves(buffers(treedef.unflatten(given)), is_leaf=is_buffer)
        for x in picked:
            i = by_id.get(id(x.array if is_buffer(x) else x))
            if i is None:
                raise TypeError(
                    f"`{name}`: `buffers` must return arrays of the loop's state, as they stand "
                    f"there; got {x!r}, which is not a leaf of it."
                )
            found.add(i)

    jax.eval_shape(pick, [x.array if is_buffer(x) else x for x in map(leaves.__getitem__, places)])
    return found
