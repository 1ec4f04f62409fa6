"""Loops with a greatest number of steps, differentiable in any mode, any number of times.

The primal loop is a `jax.lax.while_loop`. Its JVP rule runs that loop, and computes the tangents by
nested scans over blocks of steps, with rematerialisation. The scans are linear in the tangents, so
that JAX can transpose them for reverse mode. They are differentiable, so that any order of
derivatives works. Invariants:

- Only the inputs of steps and of blocks are residuals: memory grows with the square root of
  `max_steps`.
- Constants and buffers are not stored once for each step.
- A step after the end of the loop is linearised at the first carry, where its derivative is finite,
  and its result is discarded. At another carry it may be infinite, and zero times infinity is NaN.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .activity import DifferentiableStep, find_perturbed, nonzero, padded, pick, spread
from .batching import any_of, unless_alone
from .forward_only import run_lax
from .loop_state import LoopState
from .traced_loop import TracedLoop, select
from .write_marks import Arrays


def run_bounded(
    loop: TracedLoop, consts: Arrays, max_steps: int, base: int, state: LoopState
) -> tuple[Arrays, Arrays]:
    """The last carry and buffers of the loop.

    Undifferentiated, it is a `jax.lax.while_loop`. Differentiated, it is a composition of scans,
    which JAX can transpose and differentiate again.
    """
    marks = state.marks
    plain = loop.without_marks(marks)

    def runs(is_marked: bool) -> Callable[..., Any]:
        # The loop that marks what is written to buffers, or the loop that does not.
        def run(*arrays: Arrays) -> Any:
            return run_lax(loop if is_marked else plain, max_steps, *arrays)

        return _lasting(run, functools.partial(jvp, is_marked))

    def jvp(was_marked: bool, primals: Any, tangents: Any) -> Any:
        consts, carry, buffers = primals
        start: Any = nonzero(primals, tangents)
        # Marks are needed if the first buffers are perturbed, or if a buffer is read.
        is_marked = was_marked or marks.timed or any(start[2])
        chosen = loop if is_marked else plain
        if is_marked and not was_marked:
            carry, buffers = marks.added(carry, buffers)
            start = start[0], padded(start[1], carry), padded(start[2], buffers)
        perturbed = find_perturbed(chosen.steps.first, (consts, carry, buffers, []), (*start, ()))
        last, final = runs(is_marked)(consts, carry, buffers)
        given = [
            _tangents(xs, ts, mask)
            for xs, ts, mask in zip(primals, tangents, perturbed[:3], strict=False)
        ]
        if is_marked:
            # The loop overwrites these elements. Their first tangents must not reach the result.
            remaining = iter(given[2])
            every = [next(remaining) if here else None for here in perturbed.buffers]
            given[2] = pick(marks.untouched(final, every), perturbed.buffers)
        scans = _Scans(
            chosen, DifferentiableStep(chosen.steps.again, perturbed), final, carry, max_steps, base
        )
        found = scans.run(consts, carry, *given)
        out = (last, final) if was_marked else marks.removed(last, final)
        masks = perturbed.carry, perturbed.buffers
        slopes = (spread(ts, mask, xs) for ts, mask, xs in zip(found, masks, out, strict=True))
        return out, tuple(slopes)

    return runs(marks.is_asked)(consts, *marks.asked(state.carry, state.buffers))


def _tangents(xs: Arrays, tangents: Arrays, mask: tuple[bool, ...]) -> Arrays:
    pairs = zip(xs, tangents, mask, strict=False)
    return [jnp.zeros_like(x) if isinstance(t, SymbolicZero) else t for x, t, here in pairs if here]


def _lasting(run: Callable[..., Any], jvp: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, of which the derivative in forward mode is `jvp`, also in a scan.

    When JAX partially evaluates a scan body, it drops the custom rules of the deferred part. It
    does not look into `jax.checkpoint`, so the rule is attached inside as well as outside.

    Seen to be needed with JAX 0.7.2 and 0.10.2, and not with 0.12.0: it can go when JAX before 0.12
    is no longer supported. `test_without_it_a_bounded_loop_in_a_scan_has_no_second_derivative`
    tests it.
    """

    def with_rule(run: Callable[..., Any]) -> Callable[..., Any]:
        ruled = jax.custom_jvp(run)
        ruled.defjvp(jvp, symbolic_zeros=True)
        return ruled

    return with_rule(jax.checkpoint(with_rule(run), prevent_cse=False))


class _Scans(NamedTuple):
    """The derivative of a loop: scans over the carry and the tangents.

    - `final`: the buffers after the loop. With their marks, each read gives its original value.
    - `safe`: the first carry, at which steps after the end of the loop are linearised.
    - `max_steps`, `base`: the greatest number of steps, and the least number of steps in a block.
    """

    loop: TracedLoop
    linear: DifferentiableStep
    final: Arrays
    safe: Arrays
    max_steps: int
    base: int

    def run(
        self, consts: Arrays, carry: Arrays, to_consts: Arrays, to_carry: Arrays, to_buffers: Arrays
    ) -> tuple[Arrays, Arrays]:
        """The tangents of the last carry and of the last buffers."""
        fixed = consts, self.final, self.safe
        pred = self.loop.test(consts, carry, self.final) & (self.max_steps > 0)
        start = pred, jnp.int32(0), carry, to_consts, to_carry, to_buffers
        most = max(self.max_steps, 1)
        size = min(most, max(self.base, math.isqrt(most - 1) + 1))
        # No branch around a step that has tangents of buffers: a branch would copy them each time.
        block = _repeat(self._step, size, skip=not to_buffers)
        whole = block if size == most else _repeat(block, -(-most // size), skip=True)
        return whole(fixed, start)[4:]

    def _step(self, fixed: Any, state: Any) -> Any:
        consts, final, safe = fixed
        pred, i, carry, to_consts, to_carry, to_buffers = state
        running = pred if to_buffers else unless_alone(pred)
        at = select(running, carry, safe)
        new, found = self.linear.push(consts, at, final, running, (to_consts, to_carry, to_buffers))
        carry = select(running, new, carry)
        to_carry = select(running, found[0], to_carry)
        pred = pred & self.loop.test(consts, carry, final) & (i + 1 < self.max_steps)
        return pred, i + 1, carry, to_consts, to_carry, found[1]


def _repeat(run: Callable[..., Any], times: int, skip: bool) -> Callable[..., Any]:
    """Scan `run` for `times` steps. If `skip`, it does nothing once all examples have stopped."""

    def if_any(fixed: Any, state: Any) -> Any:
        return jax.lax.cond(any_of(state[0]), run, lambda _, state: state, fixed, state)

    kept = jax.checkpoint(if_any if skip else run, prevent_cse=False)

    def repeated(fixed: Any, state: Any) -> Any:
        return jax.lax.scan(lambda s, _: (kept(fixed, s), None), state, None, length=times)[0]

    return repeated
