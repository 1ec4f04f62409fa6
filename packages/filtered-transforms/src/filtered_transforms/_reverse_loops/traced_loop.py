"""The functions of a loop, traced once, as functions of flat lists of arrays.

Invariants:

- The user's functions run once, while the loop is traced (or twice: see `trace_exactly`). The
  forward pass, the backward pass and every transformation evaluate their jaxprs.
- The functions here close over no tracers. The arrays that the user's function closes over are an
  operand, `consts`: otherwise a derivative that is taken after the trace has ended would use leaked
  tracers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from filtered_transforms._jax.effects import jaxpr_has_effects
from filtered_transforms._jax.equations import equations
from filtered_transforms._jax.jaxprs import jaxpr_output_types, opened
from filtered_transforms._jax.rewrite import handed_on
from filtered_transforms._tracing.jaxpr_rules import WITHOUT_VJP, Replacement, Replacing

from .buffer_read import read_p
from .loop_options import LoopOptions
from .loop_state import LoopState
from .show_once import WITHOUT_SHOW
from .write_marks import Arrays, Marks

T = TypeVar("T")


class Stepped(NamedTuple):
    """What a step returns."""

    carry: Arrays
    buffers: Arrays
    ys: Arrays


Step = Callable[[Arrays, Arrays, Arrays, Arrays, Any], Stepped]


class Steps(NamedTuple):
    """One step, `step(consts, carry, buffers, xs, pred)`, in four programs.

    It writes to buffers only if `pred`.

    - `first`: as the user wrote it.
    - `again`: for reruns: progress meters do not show these.
    - `forward`, `forward_again`: the same two for programs that JAX does not differentiate in
        reverse again. Functions with a reverse-mode rule only (other loops) are inlined there, so
        that forward mode works through the backward pass.
    - `size`: how many equations of a step compute more than one number.
    """

    first: Step
    again: Step
    forward: Step
    forward_again: Step
    size: int

    def map(self, function: Callable[[Step], Step]) -> "Steps":
        first, again, forward, forward_again = map(function, self[:4])
        return Steps(first, again, forward, forward_again, self.size)


class TracedLoop(NamedTuple):
    """The step and the condition of a loop: functions only, never arrays.

    - `steps`: the step.
    - `test(consts, carry, buffers)`: whether there is another step.
    - `test_has_effects`: whether the condition has side effects, such as calls of Python. Then it
        may run only once for each step.
    """

    steps: Steps
    test: Callable[[Arrays, Arrays, Arrays], Any]
    test_has_effects: bool = False

    def without_marks(self, marks: Marks) -> "TracedLoop":
        """The loop without marks: its step gets marks that say that every element was written."""

        def without(step: Step) -> Step:
            def shorter(consts: Arrays, carry: Arrays, buffers: Arrays, *args: Any) -> Stepped:
                out = step(consts, *marks.added(carry, buffers, all_written=True), *args)
                return Stepped(*marks.removed(out.carry, out.buffers), out.ys)

            return shorter

        def test(consts: Arrays, carry: Arrays, buffers: Arrays) -> Any:
            return self.test(consts, *marks.added(carry, buffers, all_written=True))

        return self._replace(steps=self.steps.map(without), test=test)


def trace_exactly(
    init: Any, options: LoopOptions, trace: Callable[[LoopState], T]
) -> tuple[LoopState, T]:
    """Trace a loop that can be differentiated in reverse. Returns its state and `trace(state)`.

    Traces the loop. Traces again with write times if a buffer was read and no enclosing loop will
    retrace anyway. Without times, a rerun step would read what a later step wrote. Times cost an
    `int32` for each element of a buffer, so a loop that only writes has none.
    """
    state = LoopState(init, options, track=True)
    traced = trace(state)
    if state.needs_times:
        state = LoopState(init, options, track=True, timed=True)
        traced = trace(state)
    return state, traced


def trace_body(
    body: Callable[[Arrays, Arrays, Arrays, Any], tuple[Arrays, Arrays, Arrays]],
    state: LoopState,
    xs: Arrays,
) -> tuple[Arrays, Steps]:
    """Trace `body(carry, buffers, xs, pred)`: the arrays that it closes over, and its step."""
    pred = jnp.array(True)
    # Traces again if `fit` converted a weakly typed carry to the type that the body returns. Types
    # only widen, so this ends.
    while True:
        n_carry = len(state.carry)
        closed = handed_on(jax.make_jaxpr(body)(state.carry, state.buffers, xs, pred), read_p)
        if state.fit(jaxpr_output_types(closed)[:n_carry]):
            break
    n_buffers = len(state.buffers)
    avals = [jax.typeof(x) for x in state.carry]
    jaxpr, found = opened(closed)

    def by(*replacements: Replacement) -> Step:
        run = Replacing(*replacements).run

        def step(consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays, pred: Any) -> Stepped:
            out = run(jaxpr, [*carry, *buffers, *xs, pred], consts)
            # Evaluating the jaxpr may return weak types, but the carry must keep its type.
            new = [
                jax.lax.convert_element_type(x, a.dtype) if _is_weak(x) and not a.weak_type else x
                for x, a in zip(out[:n_carry], avals, strict=True)
            ]
            return Stepped(new, out[n_carry : n_carry + n_buffers], out[n_carry + n_buffers :])

        return step

    forward, forward_again = by(WITHOUT_VJP), by(WITHOUT_SHOW, WITHOUT_VJP)
    return found, Steps(by(), by(WITHOUT_SHOW), forward, forward_again, _size(jaxpr))


def _size(jaxpr: Any) -> int:
    """How many equations of a jaxpr and its inner jaxprs compute more than one number."""
    size = 0
    for equation in equations(jaxpr):
        shapes = [getattr(type_, "shape", ()) for type_ in equation.output_types]
        size += any(n != 1 for shape in shapes for n in shape)
        size += sum(map(_size, equation.jaxprs))
    return size


def _is_weak(x: Any) -> bool:
    return getattr(jax.typeof(x), "weak_type", False)


def trace_while(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], state: LoopState
) -> tuple[Arrays, TracedLoop]:
    """Trace `while cond_fun(state): state = body_fun(state)`: its `consts`, and the loop."""

    def body(carry: Arrays, buffers: Arrays, _: Arrays, pred: Any) -> Any:
        return *state.returned(body_fun(state.given(carry, buffers, pred))), []

    def condition(carry: Arrays, buffers: Arrays) -> Any:
        return _checked(cond_fun(state.given(carry, buffers, jnp.array(False))), state.caller.name)

    of_body, steps = trace_body(body, state, [])
    closed = jax.make_jaxpr(condition)(state.carry, state.buffers)
    jaxpr, of_test = opened(closed)
    run = Replacing(WITHOUT_VJP).run
    count, both = len(of_body), len(of_body) + len(of_test)

    def of_all(step: Step) -> Step:
        return lambda consts, *args: step(consts[:count], *args)

    def test(consts: Arrays, carry: Arrays, buffers: Arrays) -> Any:
        return run(jaxpr, [*carry, *buffers], consts[count:both])[0]

    return [*of_body, *of_test], TracedLoop(steps.map(of_all), test, jaxpr_has_effects(closed))


def _checked(found: Any, name: str) -> Any:
    try:
        found = jnp.asarray(found)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}`: `cond_fun` must return a bool, got {found!r}.") from None
    if found.shape != () or found.dtype != jnp.bool:
        raise TypeError(
            f"`{name}`: `cond_fun` must return a scalar of dtype bool, got one of "
            f"{found.dtype}{list(found.shape)}. Reduce it by `jnp.any` or `jnp.all`, or compare it."
        )
    return found


def select(pred: Any, new: Arrays, old: Arrays) -> Arrays:
    """`new` if `pred`, else `old`."""
    return [jax.lax.select(pred, x, y) for x, y in zip(new, old, strict=True)]


def read_row(x: Any, i: Any) -> Any:
    """`x[i]`, for an `i` in bounds."""
    return jax.lax.dynamic_index_in_dim(x, i, 0, keepdims=False)


def write_row(xs: Any, x: Any, i: Any) -> Any:
    """`xs` with `x` at `i`, in bounds."""
    return jax.lax.dynamic_update_index_in_dim(xs, x, i, 0)
