"""Loops of any length with reverse mode, in memory that is fixed beforehand.

A `jax.custom_vjp`: the forward pass checkpoints some states (`forward_pass`), and the backward pass
reruns the steps between them (`backward_pass`). Invariants:

- The rules outlive the trace in which they are made, as long as a program that holds the loop. So
  they hold functions, numbers and shapes, but never arrays: arrays are operands or residuals.
- Only arrays that depend on a differentiated input have cotangents; `find_perturbed` finds them.
  Otherwise integers and constants in the carry would get `float0` cotangents, and
  `nondifferentiable` values would be differentiated.
- The written elements of buffers are marked only if a derivative needs it: if the first buffers are
  perturbed, or if the loop reads a buffer.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from filtered_transforms._filters.static_nodes import Held

from .activity import (
    DifferentiableStep,
    Perturbed,
    find_perturbed,
    is_inexact,
    padded,
    pick,
    with_tangents_of,
)
from .backward_pass import LARGE, Reversal, reverse, reverse_all, reverse_large
from .batching import same_for_all
from .forward_pass import Forward, Kept, run_and_keep
from .loop_end import LoopEnd
from .loop_state import LoopState
from .traced_loop import TracedLoop
from .write_marks import Arrays, Marks


class CheckpointedLoop(NamedTuple):
    """A loop to be differentiated in reverse: functions, numbers and shapes, never arrays.

    - `loop`: its step and its condition.
    - `end`: when it ends.
    - `checkpoints`: the greatest number of states kept at a time.
    - `ys`: shapes and dtypes of the stacked outputs of the steps.
    - `primal(loop, consts, carry, buffers, xs)`: runs the loop if it is not differentiated.
    """

    loop: TracedLoop
    end: LoopEnd
    checkpoints: int
    ys: list[jax.ShapeDtypeStruct]
    primal: Callable[..., tuple[Arrays, Arrays, Arrays]]


def run_checkpointed(
    what: CheckpointedLoop, consts: Arrays, xs: Arrays, state: LoopState
) -> tuple[Arrays, Arrays, Arrays]:
    """The last carry and buffers, and the stacked outputs of the steps.

    **Arguments:**

    - `what`: the loop.
    - `consts`: the arrays that the loop closes over.
    - `xs`: the stacked inputs of the steps.
    - `state`: the initial state.
    """
    given = consts, *state.marks.asked(state.carry, state.buffers), xs
    rules = _Rules.of(what, state.marks, given)

    @jax.custom_vjp
    def run(consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays) -> Any:
        return what.primal(rules.asked, consts, carry, buffers, xs)

    run.defvjp(rules.forward, rules.backward, symbolic_zeros=True)
    return with_tangents_of(given, run(*given), rules.perturbed_out)


@dataclasses.dataclass(frozen=True)
class _Rules:
    """The rules of the loop's `custom_vjp`: its forward pass and its backward pass.

    - `marked`: the loop that marks the written elements of buffers; `plain`: the loop without
      marks; `asked`: the one of the two whose results the caller wants.
    - `slots`: how many states are kept; `all_fit`: whether that is one for every step.
    - `types`: those of the inputs of one step of `asked`.
    - `known`: cache of `perturbed`. JAX calls the rules more than once for one loop, and the
      analysis traces the step several times.
    """

    marked: TracedLoop
    plain: TracedLoop
    asked: TracedLoop
    ys: list[jax.ShapeDtypeStruct]
    end: LoopEnd
    marks: Marks
    slots: int
    all_fit: bool
    types: Any
    known: dict[Any, Perturbed]

    @classmethod
    def of(cls, what: CheckpointedLoop, marks: Marks, given: Any) -> "_Rules":
        loop, end, checkpoints, ys, _ = what
        plain = loop.without_marks(marks)
        most = end.most()
        # With a slot for the state before every step, no step reruns, and no schedule is needed.
        all_fit = most is not None and most <= checkpoints
        slots = max(most or 1, 1) if all_fit else checkpoints
        asked = loop if marks.is_asked else plain
        *types, xs = jax.tree.map(jax.typeof, given)
        types = *types, [x.update(shape=x.shape[1:]) for x in xs]
        return cls(loop, plain, asked, ys, end, marks, slots, all_fit, types, {})

    def perturbed(self, start: Any) -> Perturbed:
        """Which arrays of the loop `asked` are perturbed if those in `start` are."""
        if start not in self.known:
            self.known[start] = find_perturbed(self.asked.steps.first, self.types, start)
        return self.known[start]

    def perturbed_out(self, start: Any) -> Any:
        """Which of the last carry, the last buffers, and the stacked outputs are perturbed."""
        found = self.perturbed(start)
        return found.carry, found.buffers, found.ys

    def forward(self, *args: Any) -> Any:
        # With symbolic zeros, JAX wraps each argument together with whether it is perturbed.
        consts, carry, buffers, xs = jax.tree.map(lambda x: x.value, args, is_leaf=_is_primal)
        start: Any = tuple(
            tuple(x.perturbed and is_inexact(x.value) for x in group) for group in args
        )
        perturbed = self.perturbed(start)
        # No marks if buffers are only written, and were not perturbed before the loop: marks are as
        # large as the buffers.
        is_marked = self.marks.is_asked or self.marks.timed or any(start[2])
        if is_marked and not self.marks.is_asked:
            carry, buffers = self.marks.added(carry, buffers)
            # The analysis ran on the loop that the caller asked for. Marks are never perturbed.
            perturbed = perturbed._replace(
                carry=padded(perturbed.carry, carry), buffers=padded(perturbed.buffers, buffers)
            )
        empty = [jnp.zeros(y.shape, y.dtype) for y in self.ys]
        run = Forward(self.marked if is_marked else self.plain, consts, xs, self.end)
        running, kept = run_and_keep(
            run, run.begin(carry, buffers, empty), self.slots, self.all_fit
        )
        # The outputs must have the structure of the primal's, which has marks only if asked. The
        # residuals keep the marks: in the backward pass they tell what each step read.
        asked = self.marks.asked(running.carry, running.buffers)
        # `Held`: the backward pass branches on these in Python. As leaves, JAX would trace them.
        residuals = consts, running.buffers, xs, (running.i, running.n), kept
        return (*asked, running.ys), (Held((perturbed, is_marked)), *residuals)

    def backward(self, residuals: Any, cts: Any) -> Any:
        held, consts, buffers, xs, (i, n), kept = residuals
        perturbed, is_marked = held.value
        steps = (self.marked if is_marked else self.plain).steps
        # `vmap` may batch these residuals, but they are the same for all examples. Batched ones
        # would make the conditions of the loops in the backward pass batched, too.
        top, order, at = jax.tree.map(same_for_all, (kept.top, kept.order, kept.steps))
        way = Reversal(
            linear=DifferentiableStep(steps.again, perturbed),
            step=steps.forward_again,
            consts=consts,
            buffers=buffers,
            xs=xs,
            n=n,
            slots=self.slots,
            end=self.end,
            is_large=steps.size >= LARGE,
        )
        # The masks may be longer than the groups: they also cover marks that were not asked for.
        cotangents = (
            [_dense(x) for x in pick(group, mask[: len(group)])]
            for group, mask in zip(cts, perturbed[1:3] + perturbed[4:], strict=True)
        )
        if self.all_fit:
            back = reverse_all
        else:
            back = reverse_large if way.is_large else reverse
        found = back(way, same_for_all(i), Kept(top, order, at, kept.rows), *cotangents)
        to_consts, to_carry, to_buffers, to_xs = (
            _spread(values, mask) for values, mask in zip(found, perturbed[:4], strict=True)
        )
        # An element that the loop wrote does not depend on its value before the loop.
        to_buffers = self.marks.untouched(buffers, to_buffers)
        return to_consts, *self.marks.asked(to_carry, to_buffers), to_xs


def _is_primal(x: Any) -> bool:
    """Whether `x` is an argument as `jax.custom_vjp` wraps it with `symbolic_zeros=True`."""
    return hasattr(x, "perturbed")


def _dense(x: Any) -> Any:
    aval: Any = x
    return jnp.zeros(aval.shape, aval.dtype) if isinstance(x, SymbolicZero) else x


def _spread(values: Arrays, mask: tuple[bool, ...]) -> list[Any]:
    """The values where `mask` is true, elsewhere `None` (no cotangent)."""
    values_ = iter(values)
    return [next(values_) if here else None for here in mask]
