"""The backward pass of a checkpointed loop, from the checkpoints of the forward pass.

The checkpoints are a stack, ordered by step. Steps rerun from the last checkpoint and leave further
checkpoints in the free slots, until the state before step `end - 1` is known. That step is
reversed, `end` decreases by one, and the checkpoint of that step is popped. Invariants:

- The state before step 0 stays at the bottom of the stack, so that every step can be rerun.
- Each step is reversed once, from the last to the first.
- What a rerun step writes to buffers is discarded: the buffers are those after the loop.
- If an example of a batch had stopped before step `i`, step `i` leaves its cotangents unchanged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .activity import DifferentiableStep
from .batching import unless_alone
from .checkpoint_schedule import reversible_steps, steps_to_checkpoint
from .forward_pass import Kept
from .loop_end import LoopEnd
from .traced_loop import read_row, select, write_row
from .write_marks import Arrays

# A step with at least so many equations that compute more than one number is large, and is reversed
# by `reverse_large`, where the step is compiled once. `reverse` compiles it twice, and XLA may fuse
# it with its derivative. Measured on a CPU: with 17 equations, a gradient by `reverse_large` takes
# 0.2 to 1.1 of the time of one by `reverse`; with 9 and fewer, 1.0 to 2.
LARGE = 16


class Reversal(NamedTuple):
    """The loop invariants of the backward pass.

    - `linear`: the step as a function of its perturbed arrays; `step`: the step, to be rerun.
    - `consts`, `xs`: as in the forward pass.
    - `buffers`: those after the loop; their marks tell what each step read.
    - `n`: how many steps each example ran.
    - `slots`: the greatest number of checkpoints. `end`: when the loop ends.
    - `is_large`: whether a step has at least `LARGE` equations.
    """

    linear: DifferentiableStep
    step: Any
    consts: Arrays
    buffers: Arrays
    xs: Arrays
    n: Any
    slots: int
    end: LoopEnd
    is_large: bool

    def again(self, i: Any, carry: Arrays) -> Arrays:
        """The carry after step `i`. The buffers already contain what the step writes."""
        active = unless_alone(i < self.n)
        xs = [read_row(x, self.end.row(i)) for x in self.xs]
        return select(active, self.step(self.consts, carry, self.buffers, xs, active).carry, carry)

    def linearized(self, i: Any, carry: Arrays) -> tuple[Arrays, Callable[..., "Cotangents"]]:
        """The carry after step `i`, and the pullback of the step.

        The pullback takes the cotangents after the step and those of `ys`, and returns the
        cotangents before the step.
        """
        active = unless_alone(i < self.n)
        xs = [read_row(x, self.end.row(i)) for x in self.xs]
        step, at = self.linear.at(self.consts, carry, self.buffers, xs, active)
        (changed, _, _), pull, constant = jax.vjp(step, *at, has_aux=True)

        def back(cts: Cotangents, ys: Arrays) -> Cotangents:
            # For an example that had stopped, this step must be the identity. Its cotangents are
            # set to zero before the pullback, and what the pullback returns for it is masked: zero
            # times an infinite derivative is NaN. The cotangents of buffers are not masked, which
            # would copy them: a stopped example wrote nothing, so they come back as they were.
            zeros = [jnp.zeros_like(x) for x in cts.carry]
            given = select(active, cts.carry, zeros)
            to_consts, to_carry, to_buffers, to_xs = pull(
                (given, cts.buffers, [read_row(y, self.end.row(i)) for y in ys])
            )
            to_consts = select(active, to_consts, [jnp.zeros_like(x) for x in to_consts])
            return Cotangents(
                [x + y for x, y in zip(cts.consts, to_consts, strict=True)],
                select(active, to_carry, cts.carry),
                to_buffers,
                [
                    write_row(all_, one, self.end.row(i))
                    for all_, one in zip(cts.xs, to_xs, strict=True)
                ],
            )

        return select(active, self.linear.carry(changed, constant), carry), back

    def back(self, i: Any, carry: Arrays, cts: "Cotangents", ys: Arrays) -> "Cotangents":
        """The cotangents before step `i`, from those after step `i`."""
        back = self.linearized(i, carry)[1]
        return _if(i >= 0, back, cts, ys) if self.is_large else back(cts, ys)


class Cotangents(NamedTuple):
    """Cotangents of the perturbed inputs of a step; those of `xs` are stacked."""

    consts: Arrays
    carry: Arrays
    buffers: Arrays
    xs: Arrays


def _if(pred: Any, back: Callable[..., Cotangents], cts: Cotangents, ys: Arrays) -> Cotangents:
    """`back(cts, ys)` if `pred`, else `cts`.

    A `while_loop` of at most one iteration. It keeps XLA:CPU from fusing the step into an outer
    product of the pullback, which would recompute the step for every element of the product.

    Seen to be needed with JAX 0.7.2, 0.10.2 and 0.12.0. It can become a select when
    `test_without_it_a_step_is_recomputed` fails on all that are supported. A `jax.lax.cond` keeps
    the two apart as well; where `cts` holds large cotangents of `xs`, gradients by it took 1.2 to
    1.6 times as long, on each of the three, though no copy stands in the compiled program.
    """
    state = pred, cts
    return jax.lax.while_loop(lambda s: s[0], lambda s: (s[0] & False, back(s[1], ys)), state)[1]


def _start(way: Reversal, kept: Kept, carry_ct: Arrays, buffers_ct: Arrays) -> Cotangents:
    consts, _, _, xs = way.linear.at(
        way.consts, [x[0] for x in kept.rows], way.buffers, way.xs, jnp.array(True)
    )[1]
    zeros = [jnp.zeros_like(x) for x in consts], [jnp.zeros_like(x) for x in xs]
    return Cotangents(zeros[0], carry_ct, buffers_ct, zeros[1])


def reverse_all(
    way: Reversal, total: Any, kept: Kept, carry_ct: Arrays, buffers_ct: Arrays, ys_ct: Arrays
) -> Cotangents:
    """As `reverse`, if every step has a checkpoint: row `i` is the state before step `i`."""

    def one_back(state: Any) -> Any:
        end, cts = state
        carry = [read_row(r, end - 1) for r in kept.rows]
        return end - 1, way.back(end - 1, carry, cts, ys_ct)

    state = (total, _start(way, kept, carry_ct, buffers_ct))
    return jax.lax.while_loop(lambda s: s[0] > 0, one_back, state)[1]


def reverse(
    way: Reversal, total: Any, kept: Kept, carry_ct: Arrays, buffers_ct: Arrays, ys_ct: Arrays
) -> Cotangents:
    """The cotangents of the loop's inputs.

    Alternates between two phases. First it reruns steps from the last checkpoint to the state
    before the next step to reverse, and leaves checkpoints. Then it reverses steps as long as the
    state before them is a checkpoint.
    """

    # `top` is the stack pointer: `order(top)` is the row of the last checkpoint. All checkpoints
    # from 0 to `top` are of steps before `end`; rows above are free. Row `slots` is spare: without
    # it, a rerun with all slots in use would have to overwrite a checkpoint that is still needed.
    order, start = _stacked(kept)

    def until_next(state: Any) -> Any:
        end, (top, steps, rows), cts = state
        i, carry = _kept_at(order(top), steps, rows)
        if not _is_short(way):
            i, carry, top, steps, rows = _far(way, order, end, (i, carry, top, steps, rows))
        i, carry, top, steps, rows = _near(way, order, end, (i, carry, top, steps, rows))

        def has_state(state: Any) -> Any:
            end, top, _ = state
            # After step 0 is reversed, `top` is -1 and `end` is 0.
            return (end > 0) & (read_row(steps, order(jnp.maximum(top, 0))) == end - 1)

        def one_back(state: Any) -> Any:
            end, top, cts = state
            cts = way.back(end - 1, [read_row(r, order(top)) for r in rows], cts, ys_ct)
            return end - 1, top - 1, cts

        end, top, cts = jax.lax.while_loop(has_state, one_back, (end, top, cts))
        return end, (jnp.maximum(top, 0), steps, rows), cts

    state = (total, start, _start(way, kept, carry_ct, buffers_ct))
    return jax.lax.while_loop(lambda s: s[0] > 0, until_next, state)[2]


def _stacked(kept: Kept) -> tuple[Any, tuple[Any, Any, Arrays]]:
    """The checkpoints as a stack.

    Returns the function from a position in the stack to its row, and `(top, steps, rows)`: the
    position of the last checkpoint, the step of each row, and the rows.
    """
    order = (lambda top: top) if kept.order is None else (lambda top: read_row(kept.order, top))
    return order, (kept.top, kept.steps, kept.rows)


def _kept_at(slot: Any, steps: Any, rows: Arrays) -> tuple[Any, Arrays]:
    """The checkpoint in a row: its step, and the state before that step."""
    return read_row(steps, slot), [read_row(r, slot) for r in rows]


def _is_short(way: Reversal) -> bool:
    """Whether the free slots always hold every state between two checkpoints."""
    most = way.end.limit if way.end.length is None else way.end.length
    return isinstance(most, int) and reversible_steps(way.slots, 2) >= most


def _far(way: Reversal, order: Any, end: Any, state: Any) -> Any:
    """Rerun towards `end`, checkpointing at scheduled distances, until the remaining steps fit into
    the free slots, or until only the spare row is free."""

    def is_far(state: Any) -> Any:
        i, _, top, _, _ = state
        left = way.slots - top
        return (left > 1) & (end - i > left + 1)

    def advance(state: Any) -> Any:
        i, carry, top, steps, rows = state
        target = i + steps_to_checkpoint(way.slots - top, end - i)
        i, carry = jax.lax.while_loop(
            lambda s: s[0] < target, lambda s: (s[0] + 1, way.again(*s)), (i, carry)
        )
        top = top + 1
        rows = [write_row(r, x, order(top)) for r, x in zip(rows, carry, strict=True)]
        return i, carry, top, write_row(steps, i, order(top)), rows

    return jax.lax.while_loop(is_far, advance, state)


def _near(way: Reversal, order: Any, end: Any, state: Any) -> Any:
    """Rerun to the state before step `end - 1`, checkpointing each state.

    Once all slots are in use, each further state overwrites the spare row.
    """

    def advance(state: Any) -> Any:
        i, carry, top, steps, rows = state
        carry = way.again(i, carry)
        i, top = i + 1, jnp.minimum(top + 1, way.slots)
        rows = [write_row(r, x, order(top)) for r, x in zip(rows, carry, strict=True)]
        return i, carry, top, write_row(steps, i, order(top)), rows

    return jax.lax.while_loop(lambda s: s[0] < end - 1, advance, state)


def reverse_large(
    way: Reversal, total: Any, kept: Kept, carry_ct: Arrays, buffers_ct: Arrays, ys_ct: Arrays
) -> Cotangents:
    """As `reverse`, for large steps: the compiled program contains the step once.

    Linearise every forward step. Apply its pullback only if it is the next step to reverse.
    """
    slots, is_short = way.slots, _is_short(way)

    def next_kept(i: Any, top: Any, end: Any) -> Any:
        return i + (1 if is_short else steps_to_checkpoint(slots - top, end - i))

    def step(state: Any) -> Any:
        end, i, carry, target, (top, steps, rows), cts = state
        new, back = way.linearized(i, carry)
        is_last = i == end - 1
        cts = _if(is_last, back, cts, ys_ct)
        # A state that is not checkpointed goes to the spare row: no branch is needed.
        keeps = (i + 1 == target) & (top < slots - 1) & ~is_last
        slot = jnp.where(keeps, top + 1, slots)
        rows = [write_row(r, x, order(slot)) for r, x in zip(rows, new, strict=True)]
        steps, top = write_row(steps, i + 1, order(slot)), jnp.where(keeps, top + 1, top)
        # If step `end - 1` was reversed, pop its checkpoint, if it has one, and continue from the
        # last checkpoint. The state before step 0 stays, so that `top` is a valid position.
        end = jnp.where(is_last, i, end)
        top = jnp.where(
            is_last & (read_row(steps, order(top)) == end), jnp.maximum(top - 1, 0), top
        )
        last, at_last = _kept_at(order(top), steps, rows)
        i, carry = jnp.where(is_last, last, i + 1), select(is_last, at_last, new)
        target = jnp.where(is_last | keeps, next_kept(i, top, end), target)
        return end, i, carry, target, (top, steps, rows), cts

    order, (top, steps, rows) = _stacked(kept)
    i, carry = _kept_at(order(top), steps, rows)
    cts = _start(way, kept, carry_ct, buffers_ct)
    state = total, i, carry, next_kept(i, top, total), (top, steps, rows), cts
    return jax.lax.while_loop(lambda s: s[0] > 0, step, state)[5]
