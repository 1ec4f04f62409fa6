"""Checks without callbacks: what they looked at is carried out of the program as a result.

`filter_jit` hands us the jaxpr of a program with checks. We evaluate it anew, so that the
predicates come out of all loops, branches and inner functions on the way, and the caller reads
them after the call. Where we do not know a way out, the check stays, and calls back.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from filtered_transforms.extend import Carried
from runtime_checks import _jax
from runtime_checks._check.primitive import Check, check_p
from runtime_checks._check.unused_result import warn_of_unused
from runtime_checks._failure.packed_report import packed

# What one check has seen: its predicate, then its values.
Seen = list[Any]
Rule = Callable[["Carrier", Any, list[Any]], tuple[list[Any], list[Seen]]]

# Calls of a jaxpr that nothing will differentiate or map any more.
_CALLS = frozenset(
    {
        "custom_jvp_call",
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "closed_call",
        "core_call",
        "eval_jaxpr",
        "linear_call",
    }
)
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr", "callee")


class Carrier:
    """The evaluation of one program. Inner functions that occur again are rewritten once."""

    def __init__(self) -> None:
        self.sites: dict[int, tuple[Any, list[tuple[Check, Seen]]]] = {}
        self.rewritten: dict[int, Any] = {}

    def checks(self, jaxpr: Any) -> list[tuple[Check, Seen]]:
        """The checks that are carried out of a jaxpr, in order, with shapes for what they see."""
        found = self.sites.get(id(jaxpr))
        if found is None:
            seen = [one for eqn in _jax.opened(jaxpr)[0].eqns for one in self.of_equation(eqn)]
            found = self.sites[id(jaxpr)] = jaxpr, seen
        return found[1]

    def of_equation(self, eqn: Any) -> list[tuple[Check, Seen]]:
        """The same for one equation."""
        name, params = eqn.primitive.name, eqn.params
        if eqn.primitive is check_p:
            check = params["check"]
            return [(check, [_shape(v) for v in eqn.invars[: 1 + len(check.names)]])]
        if name not in RULES:
            return []
        found = [one for jaxpr in _parts_of(eqn) for one in self.checks(jaxpr)]
        if name == "shard_map" and found:
            shards = _shards(eqn)[1]
            return [(c, [_stacked(x, shards) for x in seen]) for c, seen in found]
        return found

    def leaves(self, jaxpr: Any) -> bool:
        """Whether there are checks that are not carried out."""
        return any(
            any(map(self.leaves if self.of_equation(eqn) else _has_check, inner))
            for eqn in _jax.opened(jaxpr)[0].eqns
            if eqn.primitive is not check_p and (inner := list(_jax.sub_jaxprs(eqn.params)))
        )

    def run(self, jaxpr: Any, args: Sequence[Any]) -> tuple[list[Any], list[Seen]]:
        """The results of a jaxpr, and what its checks have seen."""
        opened, consts = _jax.opened(jaxpr)
        values: dict[Any, Any] = dict(zip(opened.constvars, consts, strict=True))
        values.update(zip(opened.invars, args, strict=True))
        seen: list[Seen] = []

        def read(atom: Any) -> Any:
            return atom.val if _jax.is_literal(atom) else values[atom]

        for eqns, with_checks in self.parts(opened):
            if with_checks:
                (eqn,) = eqns
                with jax.named_scope(_jax.scope_of(eqn)) if _jax.scope_of(eqn) else _Nowhere():
                    results, more = self.equation(eqn, [read(v) for v in eqn.invars])
                values.update(zip(eqn.outvars, results, strict=True))
                seen.extend(more)
            else:
                needed, made = _ends(eqns)
                part = _jax.excerpt(opened, eqns, needed, made)
                results = _jax.evaluate(part, (), [values[v] for v in needed])
                values.update(zip(made, results, strict=True))
        return [read(v) for v in opened.outvars], seen

    def parts(self, jaxpr: Any) -> list[tuple[list[Any], bool]]:
        """The equations: those with checks one by one, the others as far as they stand together."""
        parts: list[tuple[list[Any], bool]] = []
        for eqn in jaxpr.eqns:
            if self.of_equation(eqn):
                parts.append(([eqn], True))
            elif parts and not parts[-1][1]:
                parts[-1][0].append(eqn)
            else:
                parts.append(([eqn], False))
        return parts

    def equation(self, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
        """The results of an equation that has checks, and what they have seen."""
        if eqn.primitive is check_p:
            before = 1 + len(eqn.params["check"].names)
            return args[before:], [[_jax.varying(x) for x in args[:before]]]
        return RULES[eqn.primitive.name](self, eqn, args)


def _has_check(jaxpr: Any, which: Callable[[Check], bool] = lambda check: True) -> bool:
    return any(
        (eqn.primitive is check_p and which(eqn.params["check"]))
        or any(_has_check(inner, which) for inner in _jax.sub_jaxprs(eqn.params))
        for eqn in _jax.opened(jaxpr)[0].eqns
    )


class _Nowhere:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def _shape(atom: Any) -> Any:
    return jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)


def _stacked(x: Any, size: int) -> Any:
    return jax.ShapeDtypeStruct((size, *x.shape), x.dtype)


def _ends(eqns: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The variables that equations need, and those that they make."""
    made: dict[Any, None] = {}
    needed: dict[Any, None] = {}
    for eqn in eqns:
        for atom in eqn.invars:
            if not _jax.is_literal(atom) and atom not in made:
                needed[atom] = None
        made.update(dict.fromkeys(v for v in eqn.outvars if type(v).__name__ != "DropVar"))
    return list(needed), list(made)


def any_failed(seen: Sequence[Seen]) -> Any:
    """Whether any of the predicates is true somewhere."""
    failed = jnp.zeros((), bool)
    for predicate, *_ in seen:
        failed = failed | (predicate if jnp.ndim(predicate) == 0 else jnp.any(predicate))
    return failed


def _nothing_seen(checks: Sequence[tuple[Check, Seen]]) -> list[Seen]:
    return [[_jax.varying(jnp.zeros(x.shape, x.dtype)) for x in shapes] for _, shapes in checks]


# --- one rule for each primitive that has jaxprs ------------------------------------------------


def _parts_of(eqn: Any) -> list[Any]:
    """The jaxprs of an equation that has a rule, in the order in which their checks come."""
    params = eqn.params
    if eqn.primitive.name == "cond":
        return list(params["branches"])
    if eqn.primitive.name == "while":
        return [params["cond_jaxpr"], params["body_jaxpr"]]
    if eqn.primitive.name == "custom_linear_solve":
        return [params["jaxprs"].solve]
    return [next(params[key] for key in _CALLED if key in params)]


def _inner_call(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    return carrier.run(_parts_of(eqn)[0], args)


def _checkpoint(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    # What JAX makes of it when it is no longer to be differentiated.
    if eqn.params["differentiated"] and eqn.params["prevent_cse"]:
        args = list(jax.lax.optimization_barrier(args))
    return carrier.run(eqn.params["jaxpr"], args)


def _jit(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    jaxpr = eqn.params["jaxpr"]
    checks = carrier.checks(jaxpr)
    closed = carrier.rewritten.get(id(jaxpr))
    if closed is None:

        def flat(*args: Any) -> list[Any]:
            out, seen = carrier.run(jaxpr, args)
            return [*out, *jtu.tree_leaves(seen)]

        closed = carrier.rewritten[id(jaxpr)] = jax.make_jaxpr(flat)(*_jax.avals_in(jaxpr))
    sizes = [len(shapes) for _, shapes in checks]
    results = _jax.bind_jit(eqn, args, closed, sum(sizes))
    flat_seen = iter(results[len(eqn.outvars) :])
    return results[: len(eqn.outvars)], [[next(flat_seen) for _ in range(n)] for n in sizes]


def _scan(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    params = eqn.params
    num_consts, num_carry = _jax.scan_sizes(params)
    consts, init, xs = (
        args[:num_consts],
        args[num_consts:][:num_carry],
        args[num_consts:][num_carry:],
    )

    def body(carry: Any, x: Any) -> Any:
        state, step, firsts = carry
        out, seen = carrier.run(params["jaxpr"], [*consts, *state, *x])
        return (out[:num_carry], step + 1, _earliest(checks, firsts, seen, step)), out[num_carry:]

    checks = carrier.checks(params["jaxpr"])
    nothing = _nothing_seen(checks)
    start = [
        [_jax.varying(jnp.full(jnp.shape(p), _NEVER, jnp.int32)), *values] for p, *values in nothing
    ]
    (state, _, firsts), ys = jax.lax.scan(
        body,
        (init, jnp.zeros((), jnp.int32), start),
        xs,
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    # Of all checks in the loop, those have failed that failed in the first step in which any did.
    step = functools.reduce(jnp.minimum, [first.min(initial=_NEVER) for first, *_ in firsts])
    failed = [[(first == step) & (first != _NEVER), *values] for first, *values in firsts]
    return [*state, *ys], failed


_NEVER = np.iinfo(np.int32).max


def _earliest(
    checks: Sequence[tuple[Check, Seen]], firsts: list[Seen], seen: list[Seen], step: Any
) -> list[Seen]:
    """For each element of each predicate, the step in which it was true for the first time.

    No reduction: that would cost more than most loops do. Values are those of that step; those for
    the debugger, as a whole, those of the first of all.
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


def _while(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    params = eqn.params
    cond_consts, rest = args[: params["cond_nconsts"]], args[params["cond_nconsts"] :]
    body_consts, init = rest[: params["body_nconsts"]], rest[params["body_nconsts"] :]

    def test(state: Any) -> tuple[Any, list[Seen]]:
        (go,), seen = carrier.run(params["cond_jaxpr"], [*cond_consts, *state])
        return go, seen

    def body(state: Any) -> tuple[Any, list[Seen]]:
        return carrier.run(params["body_jaxpr"], [*body_consts, *state])

    # A failure ends the loop, which may know no other end; what was seen last is what has failed.
    nothing = _nothing_seen(carrier.checks(params["body_jaxpr"]))
    if carrier.checks(params["cond_jaxpr"]) or params["cond_jaxpr"].out_avals[0].shape:
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
    # The first test is made before the loop, and each later one at the end of the body, so that
    # what it sees can be carried.
    def step(carry: Any) -> Any:
        state, go, _ = carry
        new, seen = body(state)
        if jnp.ndim(go):  # mapped: an example that has come to its end stays as it is
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


def _cond(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    branches = eqn.params["branches"]
    checks = [carrier.checks(branch) for branch in branches]

    def one(i: int) -> Callable[..., Any]:
        def branch(*operands: Any) -> Any:
            out, seen = carrier.run(branches[i], operands)
            every = [seen if k == i else _nothing_seen(of) for k, of in enumerate(checks)]
            return out, [one for part in every for one in part]

        return branch

    index, *operands = args
    platforms = eqn.params.get("branches_platforms")
    if platforms:
        named = {name: one(i) for i, names in enumerate(platforms) for name in names or ["default"]}
        out, seen = jax.lax.platform_dependent(*operands, **named)
    else:
        out, seen = jax.lax.switch(index, [one(i) for i in range(len(branches))], *operands)
    return list(out), seen


def _linear_solve(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    lengths = eqn.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    consts, b = args[start : start + lengths.solve], args[sum(lengths) :]
    return carrier.run(eqn.params["jaxprs"].solve, [*consts, *b])


def _shards(eqn: Any) -> tuple[tuple[str, ...], int]:
    """The axes of its mesh over which a shard_map runs by hand, and how many shards those make."""
    params = eqn.params
    names = params.get("manual_axes", params.get("newly_manual_axes"))
    mesh = params["mesh"]
    axes = tuple(name for name in mesh.axis_names if name in names)
    return axes, math.prod(mesh.shape[name] for name in axes)


def _shard_map(carrier: Carrier, eqn: Any, args: list[Any]) -> tuple[list[Any], list[Seen]]:
    # Every shard hands out what it has seen. No shard waits for another.
    params = eqn.params
    axes, _ = _shards(eqn)
    split = jax.sharding.PartitionSpec(axes)

    def body(*args: Any) -> Any:
        out, seen = carrier.run(params["jaxpr"], args)
        return tuple(out), [[jnp.expand_dims(x, 0) for x in one] for one in seen]

    out, seen = jax.shard_map(
        body,
        mesh=params["mesh"],
        in_specs=tuple(params["in_specs"]),
        out_specs=(tuple(params["out_specs"]), split),
        axis_names=set(axes),
        check_vma=params["check_vma"],
    )(*args)
    # A shard_map around this one may count what comes out of it as the same on its shards.
    return list(out), [[_jax.varying(x) for x in one] for one in seen]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_CALLS, _inner_call),
    "checkpoint": _checkpoint,
    "remat2": _checkpoint,
    "jit": _jit,
    "pjit": _jit,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
}


def carry(jaxpr: Any, args: list[Any]) -> Carried:
    """A program without its checks, and what they have seen; see `extend.register_check`."""
    warn_of_unused(jaxpr)
    if _has_check(jaxpr, lambda check: not check.kept):
        jaxpr = _jax.without_dead_code(jaxpr)  # a result of the program would keep it
    carrier = Carrier()
    results, seen = carrier.run(jaxpr, args)
    checks = [check for check, _ in carrier.checks(jaxpr)]
    report, unpack = packed(seen, any_failed(seen))

    def read(report: list[Any]) -> None:
        if not np.asarray(report[0]):  # a sixth of the cost of `bool(report[0])`
            return
        for check, (predicate, *values) in zip(checks, unpack(report), strict=True):
            if np.any(predicate):
                raise check.fail(predicate, values)

    return Carried(results, report, read, carrier.leaves(jaxpr))
