"""Loops, branches and maps: what a type checker sees of the carry and of the results.

`hatch run types` reads this with pyright and mypy; it is never run.
"""

from typing import assert_type

import jax
import jax.numpy as jnp
from jax import Array

from filtered_transforms import (
    filter_associative_scan,
    filter_cond,
    filter_fori_loop,
    filter_map,
    filter_pure_callback,
    filter_scan,
    filter_switch,
    filter_while_loop,
    scan,
    while_loop,
)
from filtered_transforms.extend import (
    cached_filter_eval_shape,
    eval_zero,
    noinline,
    nondifferentiable,
    scan_trick,
    unvmap_any,
    ω,
)
from pytree_module import Module


class State(Module):
    step: Array
    name: str


def advance(state: State) -> State:
    return State(state.step + 1, state.name)


def observe(state: State, x: Array) -> tuple[State, tuple[Array, str]]:
    return state, (x, state.name)


def observe_alone(state: State, x: None) -> tuple[State, Array]:
    return state, state.step


def more(state: State) -> Array:
    return state.step < 3


def of_index(i: Array, state: State) -> State:
    return state


def first(x: Array, name: str) -> State:
    return State(x, name)


state = State(jnp.array(0), "a")
xs = jnp.arange(3)

assert_type(filter_scan(observe, state, xs), tuple[State, tuple[Array, str]])
assert_type(filter_scan(observe_alone, state, length=3), tuple[State, Array])
assert_type(filter_while_loop(more, advance, state), State)
assert_type(filter_fori_loop(0, 3, of_index, state), State)
assert_type(filter_map(lambda state: state.step, state), Array)
assert_type(filter_associative_scan(lambda a, b: a, state), State)
assert_type(filter_cond(xs[0] > 0, first, first, xs, "a"), State)
assert_type(filter_cond(True, advance, advance, state), State)
assert_type(filter_cond(True, advance, advance, operand=state), State)
assert_type(filter_switch(xs[0], [advance, advance], state), State)

# --- of each kind

assert_type(filter_while_loop(more, advance, state, kind="checkpointed", checkpoints=3), State)
assert_type(
    filter_while_loop(more, advance, state, kind="bounded", max_steps=3, buffers=lambda s: s.step),
    State,
)
assert_type(
    filter_scan(observe, state, xs, kind="checkpointed", checkpoints="all", reverse=True),
    tuple[State, tuple[Array, str]],
)
assert_type(
    filter_scan(observe_alone, state, length=3, kind="bounded", buffers=lambda s: s.step),
    tuple[State, Array],
)
assert_type(
    filter_fori_loop(
        0, xs[0], of_index, state, kind="checkpointed", max_steps=xs[1], checkpoints=2
    ),
    State,
)

# --- for libraries

assert_type(while_loop(more, advance, state, kind="checkpointed", checkpoints=3), State)
assert_type(
    scan(observe, state, xs, kind="checkpointed", checkpoints="all"),
    tuple[State, tuple[Array, str]],
)


def halve(pair: tuple[Array, Array]) -> tuple[Array, Array]:
    return pair[0] + 1, pair[1] / 2


def large(pair: tuple[Array, Array]) -> Array:
    return pair[1] > 1


# Numbers in the first state become arrays.
assert_type(while_loop(large, halve, (0, 3.0), max_steps=9, kind="bounded"), tuple[Array, Array])

# --- for authors of libraries

assert_type(cached_filter_eval_shape(first, xs, "a"), State)
assert_type(eval_zero(first, xs, "a"), State)
assert_type(noinline(first)(xs, "a"), State)
assert_type(nondifferentiable(state, name="state"), State)
assert_type(scan_trick(advance, [advance], state), State)
assert_type(unvmap_any(xs > 0), Array)
assert_type(2 * ω(state) + ω(state), ω)
shape = jax.ShapeDtypeStruct((), "float32")  # type: ignore[no-untyped-call]
anything = filter_pure_callback(advance, state, result_shape_dtypes=shape)
