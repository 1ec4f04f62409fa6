"""Loops of at most so many steps, which can be differentiated in any mode, any number of times.

Run forward, it is a `jax.lax.while_loop`. Its rule for forward mode runs it so, and computes the
tangents in scans of scans: blocks of steps, rematerialised. Those are linear in the tangents, so
that JAX transposes them for reverse mode, and they are differentiable themselves, so that any order
works. Invariants:

- Only the inputs of steps and of blocks are residuals: memory for the square root of `max_steps`.
- Neither constants nor buffers are kept once for each step.
- In a step after the loop has ended, derivatives are taken at a carry where they are finite, and
  not used: zero times infinity would be NaN.
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

    As it stands it is a `jax.lax.while_loop`. Differentiated, it becomes scans, which JAX can
    transpose; that is all there is to it, so that the derivatives can be differentiated again.
    """
    marks = state.marks
    plain = loop.without_marks(marks)

    def runs(is_marked: bool) -> Callable[..., Any]:
        # Of the loop that marks what is written, or of the other.
        def run(*arrays: Arrays) -> Any:
            return run_lax(loop if is_marked else plain, max_steps, *arrays)

        return _lasting(run, functools.partial(jvp, is_marked))

    def jvp(was_marked: bool, primals: Any, tangents: Any) -> Any:
        consts, carry, buffers = primals
        start: Any = nonzero(primals, tangents)
        # Which places are written matters if what was there before is differentiated, or read.
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
    """The derivative of a loop: scans of the tangents, and of the carry at which they are taken.

    - `final`: the buffers at the end, in which a step reads what it had read: see `Reversal`.
    - `safe`: the first carry, for steps after the end of the loop.
    - `max_steps`, `base`: how many steps there are at most, and at least in a block.
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
        # A branch would copy the tangents of the buffers in each step.
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
    """`run`, so often; if `skip`, only as long as the loop still goes on."""

    def if_any(fixed: Any, state: Any) -> Any:
        return jax.lax.cond(any_of(state[0]), run, lambda _, state: state, fixed, state)

    kept = jax.checkpoint(if_any if skip else run, prevent_cse=False)

    def repeated(fixed: Any, state: Any) -> Any:
        return jax.lax.scan(lambda s, _: (kept(fixed, s), None), state, None, length=times)[0]

    return repeated
