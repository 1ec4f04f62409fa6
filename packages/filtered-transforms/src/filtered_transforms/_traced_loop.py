"""The functions of a loop, traced once, as functions of flat lists of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ._jax import evaluate
from ._loop_state import Arrays, LoopState
from ._show import evaluate_quietly


class Stepped(NamedTuple):
    carry: Arrays
    buffers: Arrays
    ys: Arrays


class TracedLoop(NamedTuple):
    # `consts` are all arrays that the functions close over, traced ones too.
    #
    # - `step(consts, carry, buffers, xs, pred)`: one step; writes to buffers only if `pred`.
    # - `test(consts, carry, buffers)`: whether there is another step.
    # - `again(...)`: as `step`, where it was run before: progress meters do not show it again.
    # - `run(...)` and `rerun(...)`: as `step` and `again`, in what JAX does not differentiate in
    #   reverse any more. There, forward mode goes through loops and other functions with a rule for
    #   reverse mode alone.

    consts: Arrays
    carry: Arrays
    buffers: Arrays
    step: Callable[[Arrays, Arrays, Arrays, Arrays, Any], Stepped]
    test: Callable[[Arrays, Arrays, Arrays], Any]
    again: Callable[[Arrays, Arrays, Arrays, Arrays, Any], Stepped]
    run: Callable[[Arrays, Arrays, Arrays, Arrays, Any], Stepped]
    rerun: Callable[[Arrays, Arrays, Arrays, Arrays, Any], Stepped]

    def masks(self, count: int) -> Arrays:
        """What the buffers from number `count` on start with: made anew, in whatever is traced."""
        return [jnp.zeros(x.shape, bool) for x in self.buffers[count:]]

    def without_masks(self, count: int) -> "TracedLoop":
        """The loop with the first `count` of the buffers; the others, masks, are forgotten."""
        if len(self.buffers) == count:
            return self

        def filled(buffers: Arrays) -> Arrays:
            return [*buffers, *self.masks(count)]

        def without(step: Callable[..., Stepped]) -> Callable[..., Stepped]:
            def shorter(consts: Arrays, carry: Arrays, buffers: Arrays, *args: Any) -> Stepped:
                out = step(consts, carry, filled(buffers), *args)
                return Stepped(out.carry, out.buffers[:count], out.ys)

            return shorter

        def test(consts: Arrays, carry: Arrays, buffers: Arrays) -> Any:
            return self.test(consts, carry, filled(buffers))

        return TracedLoop(
            self.consts,
            self.carry,
            self.buffers[:count],
            without(self.step),
            test,
            without(self.again),
            without(self.run),
            without(self.rerun),
        )


def trace_body(
    body: Callable[[Arrays, Arrays, Arrays, Any], tuple[Arrays, Arrays, Arrays]],
    state: LoopState,
    xs: Arrays,
) -> tuple[Arrays, Callable[..., Stepped], Callable[..., Stepped]]:
    """What `body(carry, buffers, xs, pred)` closes over, and it as a function of that, too.

    Twice: as it is, and without progress meters.
    """
    pred = jnp.array(True)
    while True:
        n_carry = len(state.carry)
        closed = jax.make_jaxpr(body)(state.carry, state.buffers, xs, pred)
        if state.fit([var.aval for var in closed.jaxpr.outvars[:n_carry]]):
            break
    n_buffers = len(state.buffers)
    avals = [jax.typeof(x) for x in state.carry]

    def by(evaluate: Callable[..., Arrays]) -> Callable[..., Stepped]:
        def step(consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays, pred: Any) -> Stepped:
            out = evaluate(closed.jaxpr, consts, [*carry, *buffers, *xs, pred])
            new = [
                jax.lax.convert_element_type(x, a.dtype) if _is_weak(x) and not a.weak_type else x
                for x, a in zip(out[:n_carry], avals, strict=True)
            ]
            return Stepped(new, out[n_carry : n_carry + n_buffers], out[n_carry + n_buffers :])

        return step

    return list(closed.consts), by(evaluate), by(evaluate_quietly)


def _is_weak(x: Any) -> bool:
    return getattr(jax.typeof(x), "weak_type", False)


def trace_while(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], state: LoopState
) -> TracedLoop:
    """The loop `while cond_fun(state): state = body_fun(state)`."""

    def body(carry: Arrays, buffers: Arrays, _: Arrays, pred: Any) -> Any:
        return *state.returned(body_fun(state.given(carry, buffers, pred))), []

    def condition(carry: Arrays, buffers: Arrays) -> Any:
        return _checked(cond_fun(state.given(carry, buffers, jnp.array(False))), state.name)

    of_body, step, again = trace_body(body, state, [])
    closed = jax.make_jaxpr(condition)(state.carry, state.buffers)
    count = len(of_body)

    def of_all(step: Callable[..., Stepped]) -> Callable[..., Stepped]:
        return lambda consts, *args: step(consts[:count], *args)

    def test(consts: Arrays, carry: Arrays, buffers: Arrays) -> Any:
        return evaluate(closed.jaxpr, consts[count:], [*carry, *buffers])[0]

    consts = [*of_body, *closed.consts]
    return TracedLoop(consts, state.carry, state.buffers, of_all(step), test, of_all(again))


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


def row(x: Any, i: Any) -> Any:
    """`x[i]`, for an `i` in bounds."""
    return jax.lax.dynamic_index_in_dim(x, i, 0, keepdims=False)


def put(xs: Any, x: Any, i: Any) -> Any:
    """`xs` with `x` at `i`, in bounds."""
    return jax.lax.dynamic_update_index_in_dim(xs, x, i, 0)
