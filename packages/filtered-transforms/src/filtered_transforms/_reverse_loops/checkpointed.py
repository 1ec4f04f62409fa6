"""Loops of any length that are differentiated in reverse, in memory fixed beforehand."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from filtered_transforms._filters.static_nodes import Held

from .activity import (
    Linear,
    Perturbed,
    find_perturbed,
    is_inexact,
    longer,
    pick,
    with_tangents_of,
)
from .backward_pass import LARGE, Reversal, reverse, reverse_all, reverse_large
from .batching import any_of, any_of_kept, same_for_all, unless_alone
from .checkpoint_schedule import Plan, in_turns, plan, turns
from .loop_state import LoopState
from .traced_loop import TracedLoop, read_row, select, write_row
from .write_marks import NEVER, Arrays, Marks

IN_CONSTS = "in consts"


class Ends(NamedTuple):
    # When a loop ends, beside its own condition.
    #
    # - `length`: the number of steps, if that is known; then there is no other condition.
    # - `limit`: the greatest number of steps, if there is one. One that is traced is `IN_CONSTS`,
    #   the last of them.

    length: int | None
    limit: int | str | None

    def most(self) -> int | None:
        """The greatest number of steps, if it is known while the loop is traced."""
        known = self.limit if self.length is None else self.length
        return known if isinstance(known, int) else None

    def in_turns(self, slots: int) -> bool:
        """Whether its state is kept as `turns` says."""
        return self.length is None and in_turns(slots, self.most())

    def plan(self, slots: int) -> Plan:
        """When to keep its state, in so many slots."""
        return plan(slots, self.length, self.most())

    def limit_of(self, consts: Arrays) -> Any:
        """The greatest number of steps, if there is one, of a loop with these `consts`."""
        return consts[-1] if self.limit == IN_CONSTS else self.limit


class _Running(NamedTuple):
    # `i` counts the steps of the longest example, `n` those of each.

    pred: Any
    i: Any
    n: Any
    carry: Arrays
    buffers: Arrays
    ys: Arrays


class _Kept(NamedTuple):
    # States that were kept: row `j` of `rows` is the state before step `steps[j]`. In the order of
    # the steps they are in the rows `order[0]` to `order[top]`; without `order` in `0` to `top`.

    top: Any
    order: Any
    steps: Any
    rows: Arrays


def checkpointed(
    loop: TracedLoop,
    consts: Arrays,
    xs: Arrays,
    ys: Arrays,
    ends: Ends,
    checkpoints: int,
    state: LoopState,
    primal: Any,
) -> tuple[Arrays, Arrays, Arrays]:
    """The last carry and buffers, and what the steps returned.

    **Arguments:**

    - `loop`: the loop.
    - `consts`: what it closes over.
    - `xs`: what the steps are given, of all steps: row by row.
    - `ys`: the same of what they return, shapes and dtypes alone.
    - `ends`: when it ends.
    - `checkpoints`: how many states of it may be kept at a time.
    - `state`: its state.
    - `primal(loop, consts, carry, buffers, xs)`: how it runs if it is not differentiated.
    """

    given = consts, *state.marks.asked(state.carry, state.buffers), xs
    rules = _Rules.of(loop, ys, ends, checkpoints, state.marks, given)

    @jax.custom_vjp
    def run(consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays) -> Any:
        return primal(rules.asked, consts, carry, buffers, xs)

    run.defvjp(rules.forward, rules.backward, symbolic_zeros=True)
    return with_tangents_of(given, run(*given), rules.perturbed_out)


@dataclasses.dataclass(frozen=True)
class _Rules:
    # How the loop runs if it is differentiated, and back. The loop is that with marks of what is
    # written to buffers; `plain` the one without; `asked` the one that the user wants. Nothing that
    # is traced is held: see `TracedLoop`. `types` are those of what `asked` is given in one step,
    # and `known` is what is perturbed, by what is at the start.

    loop: TracedLoop
    plain: TracedLoop
    asked: TracedLoop
    ys: Arrays
    ends: Ends
    marks: Marks
    slots: int
    keeps_all: bool
    types: Any
    known: dict[Any, Perturbed]

    @classmethod
    def of(
        cls, loop: TracedLoop, ys: Arrays, ends: Ends, checkpoints: int, marks: Marks, given: Any
    ) -> "_Rules":
        plain = loop.without_marks(marks)
        most = ends.most()
        keeps_all = most is not None and most <= checkpoints
        slots = max(most or 1, 1) if keeps_all else checkpoints
        asked = loop if marks.is_asked else plain
        *types, xs = jax.tree.map(jax.typeof, given)
        types = *types, [x.update(shape=x.shape[1:]) for x in xs]
        return cls(loop, plain, asked, ys, ends, marks, slots, keeps_all, types, {})

    def perturbed(self, start: Any) -> Perturbed:
        """What of the loop `asked` is perturbed."""
        if start not in self.known:
            self.known[start] = find_perturbed(self.asked.steps.first, self.types, start)
        return self.known[start]

    def perturbed_out(self, start: Any) -> Any:
        """What is so of the last carry, of the last buffers, and of what the steps returned."""
        found = self.perturbed(start)
        return found.carry, found.buffers, found.ys

    def forward(self, *args: Any) -> Any:
        is_primal = lambda x: hasattr(x, "perturbed")  # noqa: E731
        values = jax.tree.map(lambda x: x.value, args, is_leaf=is_primal)
        start: Any = tuple(
            tuple(x.perturbed and is_inexact(x.value) for x in group) for group in args
        )
        consts, carry, buffers, xs = values
        perturbed = self.perturbed(start)
        # Which slots are written matters if what was there before is differentiated, or read.
        is_marked = self.marks.is_asked or self.marks.timed or any(start[2])
        chosen = self.loop if is_marked else self.plain
        if is_marked and not self.marks.is_asked:
            carry, buffers = self.marks.added(carry, buffers)
            perturbed = perturbed._replace(
                carry=longer(perturbed.carry, carry), buffers=longer(perturbed.buffers, buffers)
            )
        empty = [jnp.zeros(y.shape, y.dtype) for y in self.ys]
        run = _Run(chosen, consts, xs, self.ends)
        first = run.begin(carry, buffers, empty)
        if self.keeps_all:
            keep = _keep_all
        else:
            keep = _keep_in_turns if self.ends.in_turns(self.slots) else _keep_some
        running, kept = keep(run, first, self.slots)
        asked = self.marks.asked(running.carry, running.buffers)
        residuals = consts, running.buffers, xs, (running.i, running.n), kept
        return (*asked, running.ys), (Held((perturbed, is_marked)), *residuals)

    def backward(self, residuals: Any, cts: Any) -> Any:
        held, consts, buffers, xs, (i, n), kept = residuals
        perturbed, is_marked = held.value
        steps = (self.loop if is_marked else self.plain).steps
        top, order, at = jax.tree.map(same_for_all, (kept.top, kept.order, kept.steps))
        kept = _Kept(top, order, at, kept.rows)
        linear = Linear(steps.again, perturbed)
        is_large = steps.size >= LARGE
        reversal = Reversal(
            linear,
            steps.forward_again,
            consts,
            buffers,
            xs,
            n,
            self.slots,
            self.ends,
            is_large,
        )
        carry_ct, buffers_ct, ys_ct = (
            [_dense(x) for x in pick(group, mask[: len(group)])]
            for group, mask in zip(cts, perturbed[1:3] + perturbed[4:], strict=True)
        )
        if self.keeps_all:
            back = reverse_all
        else:
            back = reverse_large if is_large else reverse
        found = back(reversal, same_for_all(i), kept, carry_ct, buffers_ct, ys_ct)
        to_consts, to_carry, to_buffers, to_xs = (
            _spread(values, mask) for values, mask in zip(found, perturbed[:4], strict=True)
        )
        to_buffers = self.marks.untouched(buffers, to_buffers)
        return to_consts, *self.marks.asked(to_carry, to_buffers), to_xs


def _dense(x: Any) -> Any:
    aval: Any = x
    return jnp.zeros(aval.shape, aval.dtype) if isinstance(x, SymbolicZero) else x


def _spread(values: Arrays, mask: tuple[bool, ...]) -> list[Any]:
    values_ = iter(values)
    return [next(values_) if here else None for here in mask]


class _Run(NamedTuple):
    # How a loop runs, of which all examples of a batch go in step.

    loop: TracedLoop
    consts: Arrays
    xs: Arrays
    ends: Ends

    def begin(self, carry: Arrays, buffers: Arrays, ys: Arrays) -> _Running:
        zero = jnp.int32(0)
        return _Running(self._test(zero, carry, buffers), zero, zero, carry, buffers, ys)

    def _test(self, i: Any, carry: Arrays, buffers: Arrays) -> Any:
        """Whether there is a step `i`, for each example."""
        if self.ends.length is not None:
            return i < self.ends.length
        limit = self.ends.limit_of(self.consts)
        more = self.loop.test(self.consts, carry, buffers)
        return more if limit is None else more & (i < limit)

    def goes_on(self, at: _Running) -> Any:
        """Whether there is another step, for any example."""
        if self.loop.test_has_effects:
            return any_of(at.pred)
        return any_of_kept(at.pred, self._test(at.i, at.carry, at.buffers))

    def advance(self, at: _Running) -> _Running:
        """One step."""
        pred, i, n, carry, buffers, ys = at
        running = unless_alone(pred)
        rows = [read_row(x, i) for x in self.xs]
        new, buffers, y = self.loop.steps.forward(self.consts, carry, buffers, rows, running)
        carry = select(running, new, carry)
        ys = [write_row(all_, one, i) for all_, one in zip(ys, y, strict=True)]
        n, i = n + running.astype(n.dtype), i + 1
        return _Running(pred & self._test(i, carry, buffers), i, n, carry, buffers, ys)


def _keep_all(run: _Run, first: _Running, slots: int) -> tuple[_Running, _Kept]:
    """Runs the loop, and keeps the state before each step. There is a slot for every one."""

    def keep_and_advance(state: Any) -> Any:
        at, rows = state
        rows = [write_row(r, x, at.i) for r, x in zip(rows, at.carry, strict=True)]
        return run.advance(at), rows

    rows = [jnp.broadcast_to(x, (slots, *x.shape)) for x in first.carry]
    start = first, rows
    at, rows = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_advance, start)
    return at, _Kept(jnp.int32(0), None, jnp.zeros(1, jnp.int32), rows)


def _keep_in_turns(run: _Run, first: _Running, slots: int) -> tuple[_Running, _Kept]:
    """Runs the loop, and keeps what `turns` says."""

    def turn(state: Any) -> Any:
        at, steps, rows, k = state
        begin, k = turns(slots, k + 1), k + 1

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

    rows = [jnp.broadcast_to(x, (slots + 1, *x.shape)) for x in first.carry]
    start = first, jnp.zeros(slots + 1, jnp.int32), rows, jnp.int32(-1)
    at, steps, rows, k = jax.lax.while_loop(lambda s: run.goes_on(s[0]), turn, start)
    return at, _Kept(*_order_in_turns(slots, k, at.i), steps, rows)


def _order_in_turns(slots: int, k: Any, i: Any) -> tuple[Any, Any]:
    """`top` and `order` of what was kept after `i` steps, in turn `k`."""
    # In slot `k` and after it there are `new` states of this turn, then those before.
    new = jnp.minimum(i - turns(slots, k), slots - k)
    top = jnp.where(k == 0, new, slots) - 1
    slot = jnp.arange(slots + 1, dtype=jnp.int32)
    order = slot + jnp.where(slot < slots - new, new, new + k - slots)
    return top, jnp.where((slot < k) | (k == 0) | (slot == slots), slot, order)


def _keep_some(run: _Run, first: _Running, slots: int) -> tuple[_Running, _Kept]:
    """Runs the loop, and keeps what is planned: in a batch the same for all examples."""
    planned = run.ends.plan(slots)
    planned_steps = jnp.array([*planned.steps, NEVER], jnp.int32)
    planned_slots = jnp.array(planned.slots, jnp.int32)

    def keep_and_run(state: Any) -> Any:
        at, steps, rows, j = state
        slot, target = read_row(planned_slots, j), read_row(planned_steps, j + 1)
        rows = [write_row(r, x, slot) for r, x in zip(rows, at.carry, strict=True)]
        steps = write_row(steps, at.i, slot)
        at = jax.lax.while_loop(lambda at: run.goes_on(at) & (at.i < target), run.advance, at)
        return at, steps, rows, j + 1

    rows = [jnp.broadcast_to(x, (slots + 1, *x.shape)) for x in first.carry]
    start = first, jnp.zeros(slots + 1, jnp.int32), rows, jnp.int32(0)
    at, steps, rows, j = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_run, start)
    top, order = _order_as_planned(planned, slots, jnp.maximum(j - 1, 0), at.i)
    return at, _Kept(top, order, steps, rows)


def _order_as_planned(planned: Plan, slots: int, j: Any, i: Any) -> tuple[Any, Any]:
    """`top` and `order` of what was kept after `i` steps, the `j`th state last."""
    top, orders = read_row(jnp.array(planned.slots, jnp.int32), j), planned.orders
    if planned.turns is not None:
        last = len(planned.turns)
        k = read_row(jnp.array([*planned.turns, 0], jnp.int32), jnp.minimum(j, last))
        # In turn 0 the order is as they lie.
        first, order = _order_in_turns(slots, k, i)
        return jnp.where(j < last, first, top), order
    if orders is None:
        return top, None
    last = len(orders) - 1
    order = read_row(jnp.array(orders), jnp.minimum(j, last)).astype(jnp.int32)
    return jnp.where(j < last, jnp.minimum(j, slots - 1), top), order
