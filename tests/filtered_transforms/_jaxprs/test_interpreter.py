"""Interpreters of jaxprs: a rule holds wherever its primitive stands, and all else is as it was."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from filtered_transforms.extend import (
    Equation,
    InnerCall,
    InnerCond,
    InnerLinearSolve,
    InnerScan,
    InnerShardMap,
    InnerWhile,
    Interpreter,
    all_jaxprs,
    equations,
    inner_programs,
    jaxpr_as_function,
    retrace,
)

Unary = Callable[[jax.Array], jax.Array]
X = jnp.linspace(0.2, 0.9, 4)
MESH = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("a",))
SPLIT = jax.sharding.PartitionSpec("a")


def scan(op: Unary) -> Unary:
    def body(carry: Any, x: Any) -> Any:
        return op(carry) + x, carry

    def program(x: jax.Array) -> jax.Array:
        carry, ys = jax.lax.scan(body, x, jnp.stack([x, 2 * x, 3 * x]), reverse=True)
        return carry + ys.sum(0)

    return program


def with_rule(op: Unary, forward: bool) -> Unary:
    def function(x: jax.Array) -> jax.Array:
        return op(x) * x

    if forward:
        made: Any = jax.custom_jvp(function)
        made.defjvp(lambda primals, tangents: (made(*primals), tangents[0]))
    else:
        made = jax.custom_vjp(function)
        made.defvjp(lambda x: (made(x), None), lambda _, g: (g,))
    return made


def while_loop(op: Unary) -> Unary:
    return lambda x: jax.lax.while_loop(
        lambda state: state[0] < 3, lambda state: (state[0] + 1, op(state[1])), (0, x)
    )[1]


def branches(op: Unary) -> Unary:
    return lambda x: (
        jax.lax.cond(x.sum() > 1, op, lambda x: x, x)
        + jax.lax.switch(jnp.int32(7), [lambda x: x, lambda x: 2 * op(x)], x)
    )


def solve(op: Unary) -> Unary:
    return lambda x: jax.lax.custom_linear_solve(
        lambda y: 2 * y, x, lambda _, b: op(b) / 2, symmetric=True
    )


# Each as a function of the operation within it.
PROGRAMS: dict[str, Callable[[Unary], Unary]] = {
    "straight": lambda op: lambda x: 2 * op(x + 1) - op(x),
    "jit": lambda op: jax.jit(lambda x: op(x) + 1),
    "jit twice": lambda op: lambda x: jax.jit(jax.jit(op))(x) * jax.jit(lambda x: x)(x),
    "filter_jit": lambda op: filter_jit(lambda x: op(x) + 1),
    "scan": scan,
    "scan of jit": lambda op: scan(jax.jit(op)),
    "while": while_loop,
    "while of scan": lambda op: while_loop(scan(op)),
    "branches": branches,
    "scan of branches": lambda op: scan(branches(op)),
    "checkpoint": lambda op: jax.checkpoint(lambda x: op(x) * x),
    "custom_jvp": lambda op: with_rule(op, forward=True),
    "custom_vjp": lambda op: with_rule(op, forward=False),
    "linear solve": solve,
    "constants": lambda op: lambda x: op(x) * jnp.asarray(np.arange(4.0, dtype=np.float32)),
    "vmap": lambda op: lambda x: jax.vmap(scan(op))(jnp.stack([x, x + 1])).sum(0),
    "shard_map": lambda op: jax.shard_map(op, mesh=MESH, in_specs=SPLIT, out_specs=SPLIT),
}


def cosine(_: Interpreter, __: Equation, inputs: list[Any]) -> list[Any]:
    return [jnp.cos(*inputs)]


TO_COSINE = Interpreter({jax.lax.sin_p: cosine})


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_rule_holds_everywhere(name: str):
    # The oracle is the same program, written with the other function.
    jaxpr = jax.make_jaxpr(PROGRAMS[name](jnp.sin))(X)
    expected = jax.jit(PROGRAMS[name](jnp.cos))(X)
    (found,) = jax.jit(lambda x: TO_COSINE.run(jaxpr, [x]))(X)
    assert np.allclose(found, expected, rtol=1e-5)
    new = retrace(jaxpr, TO_COSINE.run)
    names = [equation.name for inner in all_jaxprs(new) for equation in equations(inner)]
    assert "cos" in names and "sin" not in names
    assert np.allclose(jax.jit(jaxpr_as_function(new))(X)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_rule_nothing_changes(name: str):
    jaxpr = jax.make_jaxpr(PROGRAMS[name](jnp.sin))(X)
    (found,) = jax.jit(lambda x: Interpreter({}).run(jaxpr, [x]))(X)
    assert np.array_equal(found, jax.jit(PROGRAMS[name](jnp.sin))(X))


class Step(Interpreter):
    """Runs all inner programs in Python, by what `inner_programs` says of them alone."""

    def __init__(self) -> None:
        super().__init__({})
        self.kinds: set[Any] = set()

    def rule_for(self, equation: Equation) -> Any:
        return Step.step

    def step(self, equation: Equation, inputs: list[Any]) -> list[Any]:
        inner = inner_programs(equation)
        self.kinds.add(inner.kind if isinstance(inner, InnerCall) else type(inner))
        match inner:
            case InnerCall():
                return self.run(inner.jaxpr, inputs)
            case InnerLinearSolve():
                return self.run(inner.jaxpr, inner.of_jaxpr(inputs))
            case InnerCond():
                index = min(int(inputs[0]), len(inner.branches) - 1)
                return self.run(inner.branches[index], inputs[1:])
            case InnerWhile():
                of_cond, of_body, carry = inner.split(inputs)
                while self.run(inner.cond, [*of_cond, *carry])[0]:
                    carry = self.run(inner.body, [*of_body, *carry])
                return carry
            case InnerScan():
                consts, carry, xs = inner.split(inputs)
                rows: list[Any] = [None] * inner.length
                steps = range(inner.length)
                for i in reversed(steps) if inner.reverse else steps:
                    out = self.run(inner.jaxpr, [*consts, *carry, *(x[i] for x in xs)])
                    carry, rows[i] = out[: inner.num_carry], out[inner.num_carry :]
                return [*carry, *map(jnp.stack, zip(*rows, strict=True))]
            case InnerShardMap():
                assert inner.num_shards == 2 and inner.axes == ("a",)
                halves = [self.run(inner.jaxpr, [x[i : i + 2] for x in inputs]) for i in (0, 2)]
                return [jnp.concatenate(parts) for parts in zip(*halves, strict=True)]
            case _:
                assert not equation.jaxprs
                return equation.bind(inputs)


def test_what_inner_programs_are_for():
    search = Step()
    for name in PROGRAMS:
        jaxpr = jax.make_jaxpr(PROGRAMS[name](jnp.sin))(X)
        (found,) = search.run(jaxpr, [X])
        assert np.allclose(found, jax.jit(PROGRAMS[name](jnp.sin))(X), rtol=1e-5), name
    structures = {InnerCond, InnerLinearSolve, InnerScan, InnerShardMap, InnerWhile}
    assert search.kinds >= {"jit", "checkpoint", "custom_jvp", "custom_vjp", *structures}


def test_values_need_not_be_arrays():
    # The largest value that a program of sums and products can have, by intervals.
    class Upper(Interpreter):
        def rule_for(self, equation: Equation) -> Any:
            def rule(_: Any, equation: Equation, inputs: list[Any]) -> list[Any]:
                high = [x if isinstance(x, str) else str(x) for x in inputs]
                return [f"{equation.name}({', '.join(high)})"]

            return rule

    jaxpr = jax.make_jaxpr(lambda x, y: (x + y) * x)(1.0, 2.0)
    assert Upper({}).run(jaxpr, ["x", "y"]) == ["mul(add(x, y), x)"]


def test_what_stays_keeps_its_scope_and_lines():
    def program(x: jax.Array) -> jax.Array:
        with jax.named_scope("outer"):
            x = jnp.exp(jnp.sin(x))
            with jax.named_scope("inner"):
                return jnp.log(x)

    jaxpr = jax.make_jaxpr(program)(X)
    new = {equation.name: equation for equation in equations(retrace(jaxpr, TO_COSINE.run))}
    assert new["exp"].scope == "outer" and new["log"].scope == "outer/inner"
    assert any(function.endswith("program") for _, _, function in new["log"].lines)
    old = {equation.name: equation for equation in equations(jaxpr)}
    assert new["log"].lines == old["log"].lines


def test_what_is_bound_has_the_scope_and_other_parameters():
    def doubled(_: Interpreter, equation: Equation, inputs: list[Any]) -> list[Any]:
        return equation.bind(inputs, axes=(0, 1))

    def program(x: jax.Array) -> jax.Array:
        with jax.named_scope("here"):
            return jnp.broadcast_to(x.sum(0), ())

    jaxpr = jax.make_jaxpr(lambda x: x.sum(0))(jnp.ones((2, 3)))
    interpreter = Interpreter({jax.lax.reduce_sum_p: doubled})
    assert interpreter.run(jaxpr, [jnp.ones((2, 3))])[0] == 6.0
    scoped = jax.make_jaxpr(program)(X)
    same = Interpreter({jax.lax.reduce_sum_p: lambda _, equation, xs: equation.bind(xs)})
    found = [e for e in equations(retrace(scoped, same.run)) if e.name == "reduce_sum"]
    assert [e.scope for e in found] == ["here"]
