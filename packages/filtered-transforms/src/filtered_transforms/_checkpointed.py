"""Loops of any length that are differentiated in reverse, in memory fixed beforehand."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ._held import Held
from ._loop_state import LoopState
from ._mapped import any_of, any_of_kept, same_for_all, unless_alone
from ._marks import NEVER, Arrays, Marks
from ._perturbed import (
    Linear,
    Perturbed,
    find_perturbed,
    is_inexact,
    longer,
    pick,
    with_tangents_of,
)
from ._reverse import LARGE, Reversal, reverse, reverse_all, reverse_large
from ._schedule import Plan, ahead, plan
from ._traced_loop import TracedLoop, put, row, select

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

    def plan(self, places: int) -> Plan:
        """When to keep its state, in so many places."""
        return plan(places, self.length, self.limit if isinstance(self.limit, int) else None)

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
    # States that were kept: row `j` of `rows` is the state before step `steps[j]`, `NEVER` for a
    # row that is not in use.

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
    places: int
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
        places = max(most or 1, 1) if keeps_all else checkpoints
        asked = loop if marks.is_asked else plain
        *types, xs = jax.tree.map(jax.typeof, given)
        types = *types, [x.update(shape=x.shape[1:]) for x in xs]
        return cls(loop, plain, asked, ys, ends, marks, places, keeps_all, types, {})

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
        # Which places are written matters if what was there before is differentiated, or read.
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
        running, kept = (_keep_all if self.keeps_all else _keep_some)(run, first, self.places)
        asked = self.marks.asked(running.carry, running.buffers)
        residuals = consts, running.buffers, xs, (running.i, running.n), kept
        return (*asked, running.ys), (Held((perturbed, is_marked)), *residuals)

    def backward(self, residuals: Any, cts: Any) -> Any:
        held, consts, buffers, xs, (i, n), kept = residuals
        perturbed, is_marked = held.value
        steps = (self.loop if is_marked else self.plain).steps
        kept = _Kept(same_for_all(kept.steps), kept.rows)
        linear = Linear(steps.again, perturbed)
        is_large = steps.size >= LARGE
        reversal = Reversal(
            linear,
            steps.forward_again,
            consts,
            buffers,
            xs,
            n,
            self.places,
            self.ends,
            is_large,
            in_order=_is_sorted(self.ends.plan(self.places).places),
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


def _is_sorted(places: list[int]) -> bool:
    return places == sorted(places)


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
        rows = [row(x, i) for x in self.xs]
        new, buffers, y = self.loop.steps.forward(self.consts, carry, buffers, rows, running)
        carry = select(running, new, carry)
        ys = [put(all_, one, i) for all_, one in zip(ys, y, strict=True)]
        n, i = n + running.astype(n.dtype), i + 1
        return _Running(pred & self._test(i, carry, buffers), i, n, carry, buffers, ys)


def _keep_all(run: _Run, first: _Running, places: int) -> tuple[_Running, _Kept]:
    """Runs the loop, and keeps the state before each step. There is a place for every one."""

    def keep_and_advance(state: Any) -> Any:
        at, rows = state
        rows = [put(r, x, at.i) for r, x in zip(rows, at.carry, strict=True)]
        return run.advance(at), rows

    rows = [jnp.broadcast_to(x, (places, *x.shape)) for x in first.carry]
    start = first, rows
    at, rows = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_advance, start)
    return at, _Kept(jnp.arange(places, dtype=jnp.int32), rows)


def _keep_some(run: _Run, first: _Running, places: int) -> tuple[_Running, _Kept]:
    """Runs the loop, and keeps states on the way, in a batch the same for all examples."""
    planned = run.ends.plan(places)
    count = len(planned.steps)
    planned_steps = jnp.array([*planned.steps, planned.first or NEVER], jnp.int32)
    planned_places = jnp.array([*planned.places, 0], jnp.int32)

    def as_planned(steps: Any, j: Any, left: Any, runs: Any) -> Any:
        """The same as `beyond`, of the `j`th state that is kept."""
        return row(planned_places, j), row(planned_steps, j + 1), steps, left, runs

    def beyond(at: _Running, steps: Any, left: Any, runs: Any) -> Any:
        """After the plan: what is kept anew with all places but that of the start, `left` of them.

        Where to keep a state, the next step of which it is kept, and the steps of what stays.
        """
        last = left == 1
        target = at.i + jnp.where(last, runs + 1, ahead(left, runs))
        stays = (jnp.arange(places + 1) == 0) | (left < places - 1)
        steps = jnp.where(stays, steps, NEVER)
        then = jnp.where(last, places - 1, left - 1)
        return places - left, target, steps, then, runs + last.astype(jnp.int32)

    def keep_and_run(state: Any) -> Any:
        at, kept, j, left, runs = state
        after = lambda: beyond(at, kept.steps, left, runs)  # noqa: E731
        if count == 0:
            place, target, steps, left, runs = after()
        elif planned.first is None:
            place, target, steps, left, runs = as_planned(kept.steps, j, left, runs)
        else:
            place, target, steps, left, runs = jax.lax.cond(
                j < count, lambda: as_planned(kept.steps, j, left, runs), after
            )
        rows = [put(r, x, place) for r, x in zip(kept.rows, at.carry, strict=True)]
        kept = _Kept(put(steps, at.i, place), rows)
        at = jax.lax.while_loop(lambda at: run.goes_on(at) & (at.i < target), run.advance, at)
        return at, kept, j + 1, left, runs

    rows = [jnp.broadcast_to(x, (places + 1, *x.shape)) for x in first.carry]
    kept = _Kept(jnp.full(places + 1, NEVER, jnp.int32), rows)
    start = first, kept, jnp.int32(0), jnp.int32(places - (count > 0)), jnp.int32(planned.runs + 1)
    at, kept, *_ = jax.lax.while_loop(lambda s: run.goes_on(s[0]), keep_and_run, start)
    return at, kept
