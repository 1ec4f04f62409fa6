"""Functionalisation rules: how checks inside an inner program become outputs.

One rule each for call, scan, while, cond, solve and shard_map.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms.extend import (
    Equation,
    InnerCall,
    InnerCond,
    InnerLinearSolve,
    InnerPrograms,
    InnerScan,
    InnerShardMap,
    InnerWhile,
    bind_jit,
    jaxpr_input_types,
    jaxpr_output_types,
)
from runtime_checks._check.primitive import Check
from runtime_checks._jax import varying

from .carrier import Carrier, FunctionaliseRule, Seen

Outcome = tuple[list[Any], list[Seen]]


def any_failed(seen: Sequence[Seen]) -> Any:
    """Whether any of the predicates is true somewhere."""
    failed = jnp.zeros((), bool)
    for predicate, *_ in seen:
        failed = failed | (predicate if jnp.ndim(predicate) == 0 else jnp.any(predicate))
    return failed


def _nothing_seen(checks: Sequence[tuple[Check, Seen]]) -> list[Seen]:
    return [[varying(jnp.zeros(x.shape, x.dtype)) for x in shapes] for _, shapes in checks]


def _call(carrier: Carrier, equation: Equation, inner: InnerCall, args: list[Any]) -> Outcome:
    if inner.kind == "jit":
        return _jit(carrier, equation, inner, args)
    # The call is not differentiated or batched again, so its rules are not needed. The second run
    # of a checkpointed function gets a barrier, so that XLA does not merge it with the first run.
    return carrier.run(inner.jaxpr, jax.lax.optimization_barrier(args) if inner.is_apart else args)


def _jit(carrier: Carrier, equation: Equation, inner: InnerCall, args: list[Any]) -> Outcome:
    """The jitted function, which also returns the observed values of its checks."""
    jaxpr = inner.jaxpr

    def flat(*args: Any) -> list[Any]:
        out, seen = carrier.run(jaxpr, args)
        return [*out, *jtu.tree_leaves(seen)]

    closed = carrier.rewritten.get(id(jaxpr))
    if closed is None:
        closed = jax.make_jaxpr(flat)(*jaxpr_input_types(jaxpr))
        carrier.rewritten[id(jaxpr)] = closed
    results = bind_jit(equation, closed, args)
    count = len(equation.outputs)
    flat_seen = iter(results[count:])
    seen = [[next(flat_seen) for _ in shapes] for _, shapes in carrier.checks(jaxpr)]
    return results[:count], seen


def _scan(carrier: Carrier, _: Equation, inner: InnerScan, args: list[Any]) -> Outcome:
    consts, init, xs = inner.split(args)

    def body(carry: Any, x: Any) -> Any:
        state, step, firsts = carry
        out, seen = carrier.run(inner.jaxpr, [*consts, *state, *x])
        state, y = out[: inner.num_carry], out[inner.num_carry :]
        return (state, step + 1, _earliest(checks, firsts, seen, step)), y

    checks = carrier.checks(inner.jaxpr)
    nothing = _nothing_seen(checks)
    start = [
        [varying(jnp.full(jnp.shape(p), _NEVER, jnp.int32)), *values] for p, *values in nothing
    ]
    (state, _steps, firsts), ys = jax.lax.scan(
        body,
        (init, jnp.zeros((), jnp.int32), start),
        xs,
        length=inner.length,
        reverse=inner.reverse,
        unroll=inner.unroll,
    )
    # Report only the checks that failed in the earliest failing step.
    step = functools.reduce(jnp.minimum, [first.min(initial=_NEVER) for first, *_ in firsts])
    failed = [[(first == step) & (first != _NEVER), *values] for first, *values in firsts]
    return [*state, *ys], failed


_NEVER = np.iinfo(np.int32).max


def _earliest(
    checks: Sequence[tuple[Check, Seen]], firsts: list[Seen], seen: list[Seen], step: Any
) -> list[Seen]:
    """For each element of each predicate, the first step in which it was true.

    Elementwise: a reduction in each step would cost more than most loops. The observed values are
    those of that step. Values for the debugger are not split by element: they are those of the
    first failure of any element.
    """
    updated: list[Seen] = []
    for (check, _), (first, *old), (predicate, *new) in zip(checks, firsts, seen, strict=True):
        kept: list[Any] = []
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            whole = i >= len(old) - check.debugged
            if jnp.shape(b)[: jnp.ndim(predicate)] == jnp.shape(predicate) and not whole:
                kept.append(_select(predicate & (first == _NEVER), b, a))
            else:
                kept.append(jnp.where(jnp.any(predicate) & (first == _NEVER).all(), b, a))
        updated.append([jnp.minimum(first, jnp.where(predicate, step, _NEVER)), *kept])
    return updated


def _while(carrier: Carrier, _: Equation, inner: InnerWhile, args: list[Any]) -> Outcome:
    cond_consts, body_consts, init = inner.split(args)

    def test(state: Any) -> tuple[Any, list[Seen]]:
        (go,), seen = carrier.run(inner.cond, [*cond_consts, *state])
        return go, seen

    def body(state: Any) -> tuple[Any, list[Seen]]:
        return carrier.run(inner.body, [*body_consts, *state])

    # Stop at the first failure: without it the loop might not terminate. The last observed values
    # are those of the failure.
    nothing = _nothing_seen(carrier.checks(inner.body))
    if carrier.checks(inner.cond) or jaxpr_output_types(inner.cond)[0].shape:
        return _while_by_flag(test, body, init, nothing)
    state, seen = jax.lax.while_loop(
        lambda carry: test(carry[0])[0] & ~any_failed(carry[1]),
        lambda carry: body(carry[0]),
        (init, nothing),
    )
    return list(state), seen


def _while_by_flag(
    test: Callable[[Any], tuple[Any, list[Seen]]],
    body: Callable[[Any], tuple[Any, list[Seen]]],
    init: list[Any],
    nothing: list[Seen],
) -> tuple[list[Any], list[Seen]]:
    # The first test runs before the loop, and each later one at the end of the body, so that its
    # observed values can be part of the carry: the condition of a `while_loop` returns only a bool.
    def step(carry: Any) -> Any:
        state, go, _ = carry
        new, seen = body(state)
        if jnp.ndim(go):  # batched: a stopped example keeps its state
            new = [_select(go, a, b) for a, b in zip(new, state, strict=True)]
            seen = [_masked(go, one) for one in seen]
        go_on, seen_by_test = test(new)
        return new, go_on & go, [*seen_by_test, *seen]

    go, seen = test(init)
    state, _, seen = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]) & ~any_failed(carry[2]), step, (init, go, [*seen, *nothing])
    )
    return list(state), seen


def _select(go: Any, new: Any, old: Any) -> Any:
    return jnp.where(go.reshape(go.shape + (1,) * (jnp.ndim(new) - go.ndim)), new, old)


def _masked(go: Any, seen: Seen) -> Seen:
    predicate, *values = seen
    if jnp.shape(predicate)[: go.ndim] != go.shape:
        return seen
    return [_select(go, predicate, jnp.zeros_like(predicate)), *values]


def _cond(carrier: Carrier, _: Equation, inner: InnerCond, args: list[Any]) -> Outcome:
    branches = inner.branches
    checks = [carrier.checks(branch) for branch in branches]

    def one(i: int) -> Callable[..., Any]:
        def branch(*operands: Any) -> Any:
            out, seen = carrier.run(branches[i], operands)
            every = [seen if k == i else _nothing_seen(of) for k, of in enumerate(checks)]
            return out, [one for part in every for one in part]

        return branch

    index, *operands = args
    if inner.platforms:
        named = {
            name: one(i) for i, names in enumerate(inner.platforms) for name in names or ["default"]
        }
        out, seen = jax.lax.platform_dependent(*operands, **named)
    else:
        out, seen = jax.lax.switch(index, [one(i) for i in range(len(branches))], *operands)
    return list(out), seen


def _linear_solve(
    carrier: Carrier, _: Equation, inner: InnerLinearSolve, args: list[Any]
) -> Outcome:
    return carrier.run(inner.jaxpr, inner.of_jaxpr(args))


def _shard_map(carrier: Carrier, _: Equation, inner: InnerShardMap, args: list[Any]) -> Outcome:
    # Every shard returns its own observed values, stacked along a new axis: no communication.
    def body(*args: Any) -> Any:
        out, seen = carrier.run(inner.jaxpr, args)
        return tuple(out), [[jnp.expand_dims(x, 0) for x in one] for one in seen]

    out, seen = jax.shard_map(
        body,
        mesh=inner.mesh,
        in_specs=inner.in_specs,
        out_specs=(inner.out_specs, jax.sharding.PartitionSpec(inner.axes)),
        axis_names=set(inner.axes),
        check_vma=inner.check_vma,
    )(*args)
    # An enclosing shard_map may treat the outputs as replicated: mark them as varying.
    return list(out), [[varying(x) for x in one] for one in seen]


RULES: Mapping[type[InnerPrograms], FunctionaliseRule] = {
    InnerCall: _call,
    InnerScan: _scan,
    InnerWhile: _while,
    InnerCond: _cond,
    InnerLinearSolve: _linear_solve,
    InnerShardMap: _shard_map,
}
