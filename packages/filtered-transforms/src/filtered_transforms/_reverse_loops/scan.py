"""Loops of known length of every kind: from the user's function to flat lists of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import Signature, sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import array_mask
from filtered_transforms._filters.static_nodes import hold, is_number, release

from .checkpointed import CheckpointedLoop, run_checkpointed
from .loop_end import LoopEnd
from .loop_options import LoopOptions
from .loop_state import LoopState
from .traced_loop import Steps, TracedLoop, trace_body, trace_exactly
from .write_marks import Arrays


class Order(NamedTuple):
    """The order in which a scan runs over the rows: options of `jax.lax.scan`."""

    reverse: bool = False
    unroll: int | bool = 1
    split_transpose: bool = False

    def options(self) -> dict[str, Any]:
        """The options, for `jax.lax.scan`."""
        return {
            "reverse": self.reverse,
            "unroll": self.unroll,
            "_split_transpose": self.split_transpose,
        }


def run_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int,
    options: LoopOptions,
    order: Order,
) -> tuple[Any, Any]:
    """The last carry, and the stacked results, of `for x in xs: carry, y = f(carry, x)`.

    Numbers in `init` and in the outputs of `f` become arrays; a caller for whom they are static
    wraps them (`hold`). A bounded scan is a `jax.lax.scan`, which already has all derivatives.
    """
    if options.kind == "checkpointed" and length > 0:
        return _checkpointed(f, init, xs, length, options, order)
    return _lax(f, LoopState(init, options), xs, length, order)


def scan_length(xs: Any, length: int | None, name: str) -> int:
    """How many steps a scan has.

    **Raises:** `ValueError` if the arrays in `xs` and `length` disagree, or if there are neither.
    """
    leaves = jtu.tree_leaves(xs)
    arrays = split(leaves, array_mask(leaves))[0]
    if any(x.ndim == 0 for x in arrays):
        raise ValueError(f"`{name}`: an array in `xs` has no axis to scan over: it is a scalar.")
    found = {x.shape[0] for x in arrays}
    if length is not None:
        found.add(int(length))
    if len(found) == 0:
        raise ValueError(f"`{name}` got no arrays in `xs` to scan over, and no `length`.")
    if len(found) > 1:
        raise ValueError(
            f"Got inconsistent lengths in `{name}`: {sorted(found)}. The first axes of all arrays "
            "in `xs`, and `length` if it is given, must agree."
        )
    return found.pop()


def check_pair(out: Any, name: str) -> tuple[Any, Any]:
    """`out`. **Raises:** `TypeError` if it is not a pair."""
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError(
            f"`{name}`: the function must return a pair `(carry, y)`, got a {type(out).__name__}."
        )
    return out


def _lax(
    f: Callable[[Any, Any], tuple[Any, Any]], state: LoopState, xs: Any, length: int, order: Order
) -> tuple[Any, Any]:
    always = jnp.array(True)

    def body(arrays: tuple[Arrays, Arrays], x: Any) -> Any:
        given = state.given(*arrays, always)
        carry, y = check_pair(f(given, release(x)), state.caller.name)
        return state.returned(carry), hold(y)

    start = state.carry, state.buffers
    arrays, ys = jax.lax.scan(body, start, hold(xs), length=length, **order.options())
    return state.result(*arrays), release(ys)


def _checkpointed(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int,
    options: LoopOptions,
    order: Order,
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
            out = f(state.given(carry, buffers, pred), given)
            new, y = check_pair(out, state.caller.name)
            y = jtu.tree_map(lambda leaf: jnp.asarray(leaf) if is_number(leaf) else leaf, y)
            found, seen = sign(y)
            return *state.returned(new), found

        return trace_body(body, state, one)

    state, (consts, steps) = trace_exactly(init, options, trace)
    assert seen is not None, "the body was not traced"

    def always(*_: Any) -> Any:
        return jnp.array(True)

    def primal(loop: TracedLoop, consts: Any, carry: Any, buffers: Any, xs: Any) -> Any:
        def advance(arrays: Any, x: Any) -> Any:
            out = loop.steps.first(consts, arrays[0], arrays[1], x, jnp.array(True))
            return (out.carry, out.buffers), out.ys

        start = carry, buffers
        (carry, buffers), ys = jax.lax.scan(advance, start, xs, length=length, **order.options())
        return carry, buffers, ys

    of_one = jax.eval_shape(
        steps.first, consts, state.carry, state.buffers, one, jnp.array(True)
    ).ys
    ys = [jax.ShapeDtypeStruct((length, *y.shape), y.dtype) for y in of_one]
    end = LoopEnd(length, None, order.reverse)
    loop = TracedLoop(steps, always)
    what = CheckpointedLoop(loop, end, options.checkpoints, ys, primal)
    *out, ys = run_checkpointed(what, consts, arrays, state)
    return state.result(*out), seen.result(ys)
