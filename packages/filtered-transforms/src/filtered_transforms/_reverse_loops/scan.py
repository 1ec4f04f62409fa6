"""`scan`: a loop of known length that can be differentiated in reverse in little memory."""

from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import Signature, sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import array_mask
from filtered_transforms._filters.static_nodes import check_callable, hold, is_number, release
from filtered_transforms._types import LoopKind, PyTree, R, T, X
from tree_surgery.extend import public

from .checkpoint_schedule import default_checkpoints
from .checkpointed import Ends, checkpointed
from .loop_state import LoopState
from .traced_loop import Steps, TracedLoop, trace_body, trace_exactly
from .while_loop import check_checkpoints, check_use
from .write_marks import Arrays


@overload
def scan(
    f: Callable[[T, X], tuple[T, R]],
    init: T,
    xs: X,
    length: int | None = None,
    *,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@overload  # numbers in the first carry become arrays
def scan(
    f: Callable[[T, X], tuple[T, R]],
    init: PyTree,
    xs: X,
    length: int | None = None,
    *,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@public
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    *,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[Any, Any]:
    """`jax.lax.scan` that can be differentiated in reverse in memory that you choose.

    **Arguments:**

    - `f`: a function `(carry, x) -> (carry, y)`.
    - `init`: the first carry. Numbers in it become arrays; what else is no array is static, and `f`
        must return it as it is.
    - `xs`: a tree whose arrays are scanned over, along their first axis; or `None`.
    - `length`: the number of steps, if `xs` does not tell.
    - `buffers`: a function from the carry to the arrays in it that are written place by place, as
        for `while_loop`.
    - `kind`: `"lax"`, or `"bounded"`, which is the same here: `jax.lax.scan`, which keeps something
        of each step to be differentiated in reverse; or `"checkpointed"`: derivatives in reverse
        mode, and in forward mode of that, in memory for `checkpoints` carries.
    - `checkpoints`: as for `while_loop`; `"all"` keeps the carry of each step, so that none is run
        again but to be differentiated.

    **Returns:** `(carry, ys)`: the last carry, and the `y`s, stacked.

    **Raises:** `ValueError` if the lengths do not agree, for a kind that is none, or for
    `checkpoints` where the kind has no use for it (`extend.scan` passes over it); and what
    `while_loop` raises, if `f` changes the structure or the type of the carry. With
    `kind="checkpointed"` these are errors of ours, else those of JAX.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import scan

    @jax.grad
    def gradient(x):
        carry, ys = scan(lambda c, x: (c * x, c), x, jnp.arange(1.0, 5.0), kind="checkpointed")
        return carry + ys.sum()

    assert gradient(1.0) == 24 + (1 + 1 + 2 + 6)
    ```
    """
    check_callable("scan", f)
    if kind not in ("lax", "bounded", "checkpointed"):
        raise ValueError(
            f'Unrecognised kind of scan {kind!r}: expected "lax", "bounded" or "checkpointed".'
        )
    check_use("scan", kind, "checkpointed", "checkpoints", checkpoints)
    if checkpoints is not None and checkpoints != "all":
        checkpoints = check_checkpoints(checkpoints)
    steps = _length(xs, length)
    if kind != "checkpointed" or steps == 0:
        return _lax_scan(f, LoopState(init, buffers, "scan"), xs, steps)
    if checkpoints is None:
        checkpoints = default_checkpoints(steps)
    count = steps + 1 if checkpoints == "all" else checkpoints

    def begin(timed: bool) -> LoopState:
        return LoopState(init, buffers, "scan", track=True, timed=timed)

    return _checkpointed_scan(f, begin, xs, steps, count)


def _length(xs: Any, length: int | None) -> int:
    leaves = jtu.tree_leaves(xs)
    arrays = split(leaves, array_mask(leaves))[0]
    if any(x.ndim == 0 for x in arrays):
        raise ValueError("`scan`: an array in `xs` has no axis to scan over: it is a scalar.")
    found = {x.shape[0] for x in arrays}
    if length is not None:
        found.add(int(length))
    if len(found) == 0:
        raise ValueError("`scan` got no arrays in `xs` to scan over, and no `length`.")
    if len(found) > 1:
        raise ValueError(
            f"Got inconsistent lengths in `scan`: {sorted(found)}. The first axes of all arrays in "
            "`xs`, and `length` if it is given, must agree."
        )
    return found.pop()


def _pair(out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"`scan`: the function must return a pair `(carry, y)`, got a {type(out).__name__}."
        )
    return out


def _lax_scan(
    f: Callable[[Any, Any], tuple[Any, Any]], state: LoopState, xs: Any, length: int
) -> tuple[Any, Any]:
    always = jnp.array(True)

    def body(arrays: tuple[Arrays, Arrays], x: Any) -> Any:
        carry, y = _pair(f(state.given(*arrays, always), release(x)))
        return state.returned(carry), hold(y)

    start = state.carry, state.buffers
    arrays, ys = jax.lax.scan(body, start, hold(xs), length=length)
    return state.result(*arrays), release(ys)


def _checkpointed_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    begin: Callable[[bool], LoopState],
    xs: Any,
    length: int,
    checkpoints: int,
) -> tuple[Any, Any]:
    leaves, treedef = jtu.tree_flatten(xs)
    mask = array_mask(leaves)
    arrays, others = split(leaves, mask)
    arrays = [jnp.asarray(x) for x in arrays]
    one = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in arrays]
    seen: Signature | None = None

    def trace(state: LoopState) -> tuple[Arrays, Steps]:
        def body(carry: Arrays, buffers: Arrays, x: Arrays, pred: Any) -> Any:
            nonlocal seen
            given = treedef.unflatten(merge(mask, x, others))
            new, y = _pair(f(state.given(carry, buffers, pred), given))
            y = jtu.tree_map(lambda leaf: jnp.asarray(leaf) if is_number(leaf) else leaf, y)
            found, seen = sign(y)
            return *state.returned(new), found

        return trace_body(body, state, one)

    state, (consts, steps) = trace_exactly(begin, trace)
    assert seen is not None, "the body was not traced"

    def always(*_: Any) -> Any:
        return jnp.array(True)

    loop = TracedLoop(steps, always)

    def primal(loop: TracedLoop, consts: Any, carry: Any, buffers: Any, xs: Any) -> Any:
        def advance(arrays: Any, x: Any) -> Any:
            out = loop.steps.first(consts, arrays[0], arrays[1], x, jnp.array(True))
            return (out.carry, out.buffers), out.ys

        (carry, buffers), ys = jax.lax.scan(advance, (carry, buffers), xs, length=length)
        return carry, buffers, ys

    shapes = jax.eval_shape(
        steps.first, consts, state.carry, state.buffers, one, jnp.array(True)
    ).ys
    ys = [jax.ShapeDtypeStruct((length, *y.shape), y.dtype) for y in shapes]
    ends = Ends(length, None)
    *out, ys = checkpointed(loop, consts, arrays, ys, ends, checkpoints, state, primal)
    return state.result(*out), seen.result(ys)
