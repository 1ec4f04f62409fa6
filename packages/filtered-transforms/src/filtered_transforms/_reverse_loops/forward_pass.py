"""The forward pass of a checkpointed loop: three ways to checkpoint states.

Invariants, on which `backward_pass` relies:

- The state before step 0 is always kept, and never overwritten.
- `Kept.order` sorts the checkpoints by step.
- Under `vmap` all examples run in lockstep: `i` and the checkpointed steps are the same for all.
  Each example has its own `pred`; a stopped example keeps its carry.
- Buffers are never checkpointed: each element is written once, so that the buffer after the loop
  tells what any step read.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .batching import any_of, any_of_kept, unless_alone
from .checkpoint_schedule import Schedule, turns
from .loop_end import LoopEnd
from .traced_loop import TracedLoop, read_row, select, write_row
from .write_marks import NEVER, Arrays


class Running(NamedTuple):
    """The state of a running loop.

    `i` counts the steps of the longest example, `n` those of each example.
    """

    pred: Any
    i: Any
    n: Any
    carry: Arrays
    buffers: Arrays
    ys: Arrays


class Kept(NamedTuple):
    """The checkpoints: row `j` of `rows` is the carry before step `steps[j]`.

    Sorted by step they are the rows `order[0]` to `order[top]`; if `order` is `None`, the rows `0`
    to `top`. The last row is spare: the backward pass writes states to it that are no checkpoints.
    """

    top: Any
    order: Any
    steps: Any
    rows: Arrays


class Forward(NamedTuple):
    """The step of a loop; all examples of a batch run in lockstep."""

    loop: TracedLoop
    consts: Arrays
    xs: Arrays
    end: LoopEnd

    def begin(self, carry: Arrays, buffers: Arrays, ys: Arrays) -> Running:
        zero = jnp.int32(0)
        return Running(self._test(zero, carry, buffers), zero, zero, carry, buffers, ys)

    def _test(self, i: Any, carry: Arrays, buffers: Arrays) -> Any:
        """Whether there is a step `i`, for each example."""
        if self.end.length is not None:
            return i < self.end.length
        limit = self.end.limit_of(self.consts)
        more = self.loop.test(self.consts, carry, buffers)
        return more if limit is None else more & (i < limit)

    def goes_on(self, at: Running) -> Any:
        """Whether there is another step, for any example."""
        if self.loop.test_has_effects:
            return any_of(at.pred)
        return any_of_kept(at.pred, self._test(at.i, at.carry, at.buffers))

    def advance(self, at: Running) -> Running:
        """One step."""
        pred, i, n, carry, buffers, ys = at
        running = unless_alone(pred)
        place = self.end.row(i)
        rows = [read_row(x, place) for x in self.xs]
        new, buffers, y = self.loop.steps.forward(self.consts, carry, buffers, rows, running)
        carry = select(running, new, carry)
        ys = [write_row(all_, one, place) for all_, one in zip(ys, y, strict=True)]
        n, i = n + running.astype(n.dtype), i + 1
        return Running(pred & self._test(i, carry, buffers), i, n, carry, buffers, ys)


def run_and_keep(run: Forward, first: Running, slots: int, all_fit: bool) -> tuple[Running, Kept]:
    """Run the loop to its end, and checkpoint states.

    `all_fit`: there is a slot for the state before every step.
    """
    if all_fit:
        return _keep_all(run, first, slots)
    if run.end.in_turns(slots):
        return _keep_in_turns(run, first, slots)
    return _keep_as_planned(run, first, slots)


def _slots(carry: Arrays, count: int) -> Arrays:
    # Copies of the first carry, not zeros: a step can run on the state in every slot.
    return [jnp.broadcast_to(x, (count, *x.shape)) for x in carry]


def _keep_all(run: Forward, first: Running, slots: int) -> tuple[Running, Kept]:
    def keep_and_advance(state: Any) -> Any:
        at, rows = state
        rows = [write_row(r, x, at.i) for r, x in zip(rows, at.carry, strict=True)]
        return run.advance(at), rows

    start = first, _slots(first.carry, slots)
    at, rows = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_advance, start)
    return at, Kept(jnp.int32(0), None, jnp.zeros(1, jnp.int32), rows)


def _keep_in_turns(run: Forward, first: Running, slots: int) -> tuple[Running, Kept]:
    """Keep states by `checkpoint_schedule.turns`: arithmetic on `i`, no table in the program."""

    def turn(state: Any) -> Any:
        at, steps, rows, k = state
        begin, k = turns(slots, k + 1), k + 1

        # A turn has `slots - k + 1` steps. The state before the last one has no slot: it is written
        # to the spare row, so that no branch is needed.
        def keep_and_advance(state: Any) -> Any:
            at, steps, rows = state
            slot = at.i - begin + k
            rows = [write_row(r, x, slot) for r, x in zip(rows, at.carry, strict=True)]
            return run.advance(at), write_row(steps, at.i, slot), rows

        at, steps, rows = jax.lax.while_loop(
            lambda s: run.goes_on(s[0]) & (s[0].i - begin <= slots - k),
            keep_and_advance,
            (at, steps, rows),
        )
        return at, steps, rows, k

    rows = _slots(first.carry, slots + 1)
    start = first, jnp.zeros(slots + 1, jnp.int32), rows, jnp.int32(-1)
    at, steps, rows, k = jax.lax.while_loop(lambda s: run.goes_on(s[0]), turn, start)
    return at, Kept(*_order_in_turns(slots, k, at.i), steps, rows)


def _order_in_turns(slots: int, k: Any, i: Any) -> tuple[Any, Any]:
    """`top` and `order` of the checkpoints after `i` steps, in turn `k`."""
    # Slots 0 to k - 1 hold one state of each previous turn. From slot `k` on there are first the
    # `new` states of this turn, then states of turn `k - 1` that this turn has not overwritten yet.
    # Sorted by step, the states of turn `k - 1` come before the new ones.
    new = jnp.minimum(i - turns(slots, k), slots - k)
    top = jnp.where(k == 0, new, slots) - 1
    slot = jnp.arange(slots + 1, dtype=jnp.int32)
    order = slot + jnp.where(slot < slots - new, new, new + k - slots)
    return top, jnp.where((slot < k) | (k == 0) | (slot == slots), slot, order)


def _keep_as_planned(run: Forward, first: Running, slots: int) -> tuple[Running, Kept]:
    """Keep states by the schedule, which is a table in the program."""
    planned = run.end.schedule(slots)
    # After the last planned checkpoint the loop runs to its end, in one inner loop.
    planned_steps = jnp.array([*planned.steps, NEVER], jnp.int32)
    planned_slots = jnp.array(planned.slots, jnp.int32)

    def keep_and_run(state: Any) -> Any:
        at, steps, rows, j = state
        slot, target = read_row(planned_slots, j), read_row(planned_steps, j + 1)
        rows = [write_row(r, x, slot) for r, x in zip(rows, at.carry, strict=True)]
        steps = write_row(steps, at.i, slot)
        at = jax.lax.while_loop(lambda at: run.goes_on(at) & (at.i < target), run.advance, at)
        return at, steps, rows, j + 1

    rows = _slots(first.carry, slots + 1)
    start = first, jnp.zeros(slots + 1, jnp.int32), rows, jnp.int32(0)
    at, steps, rows, j = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_run, start)
    top, order = _order_as_planned(planned, slots, jnp.maximum(j - 1, 0), at.i)
    return at, Kept(top, order, steps, rows)


def _order_as_planned(planned: Schedule, slots: int, j: Any, i: Any) -> tuple[Any, Any]:
    """`top` and `order` of the checkpoints after `i` steps; the `j`th state was kept last."""
    top, orders = read_row(jnp.array(planned.slots, jnp.int32), j), planned.orders
    if planned.turns is not None:
        last = len(planned.turns)
        k = read_row(jnp.array([*planned.turns, 0], jnp.int32), jnp.minimum(j, last))
        # In turn 0 the slots are sorted by step.
        first, order = _order_in_turns(slots, k, i)
        return jnp.where(j < last, first, top), order
    if orders is None:
        return top, None
    last = len(orders) - 1
    order = read_row(jnp.array(orders), jnp.minimum(j, last)).astype(jnp.int32)
    return jnp.where(j < last, jnp.minimum(j, slots - 1), top), order
