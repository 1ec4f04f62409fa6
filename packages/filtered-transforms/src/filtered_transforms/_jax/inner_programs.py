"""What the jaxprs in an equation are for: which one is run with which operands, and how often.

Decided here: how the parameters of JAX's primitives that hold jaxprs are read. There is one table
of them: whoever adds a primitive to it adds its reader. Seen to work with JAX 0.7.2 to 0.12.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jax.sharding import AbstractMesh, Mesh

from tree_surgery.extend import public

from .equations import Equation
from .jaxpr_classes import AnyJaxpr

CallKind = Literal["jit", "checkpoint", "custom_jvp", "custom_vjp", "other"]


@public("filtered_transforms.extend")
class InnerPrograms(abc.ABC):
    """The jaxprs that an equation runs, and what it hands to them; see `inner_programs`."""

    @property
    @abc.abstractmethod
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        """The jaxprs, in the order in which they are run first."""


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerCall(InnerPrograms):
    """One jaxpr, run once with the operands of the equation; its results are those of the equation.

    **Attributes:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr` without constants.
    - `kind`: what it is the call of: `"jit"`, `"checkpoint"`, a function with a rule for its
        derivative (`"custom_jvp"`, `"custom_vjp"`), or `"other"`.
    - `is_apart`: whether the compiler must not merge it with the same computation elsewhere: it is
        the second run of a checkpointed function.

    The example is that of `inner_programs`.
    """

    jaxpr: AnyJaxpr
    kind: CallKind
    is_apart: bool = False

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return (self.jaxpr,)


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerScan(InnerPrograms):
    """A jaxpr that is run `length` times: `[*carry, *ys] = jaxpr(*consts, *carry, *xs)`.

    **Attributes:**

    - `jaxpr`: one step.
    - `num_consts`, `num_carry`: how many of the operands are `consts`, and how many the first
        `carry`. The others are stacked `xs`.
    - `length`, `reverse`, `unroll`: as for `jax.lax.scan`.

    The example is that of `inner_programs`.
    """

    jaxpr: AnyJaxpr
    num_consts: int
    num_carry: int
    length: int
    reverse: bool
    unroll: int | bool

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return (self.jaxpr,)

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """`consts`, `carry` and `xs`."""
        start = self.num_consts + self.num_carry
        consts, carry = operands[: self.num_consts], operands[self.num_consts : start]
        return list(consts), list(carry), list(operands[start:])


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerWhile(InnerPrograms):
    """Two jaxprs: `while cond(*cond_consts, *carry): carry = body(*body_consts, *carry)`.

    **Attributes:**

    - `cond`, `body`: the jaxprs. Mapped, `cond` returns a condition for each example.
    - `num_cond_consts`, `num_body_consts`: how many of the operands go to each of them alone.

    The example is that of `inner_programs`.
    """

    cond: AnyJaxpr
    body: AnyJaxpr
    num_cond_consts: int
    num_body_consts: int

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return self.cond, self.body

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """`cond_consts`, `body_consts` and `carry`."""
        start = self.num_cond_consts + self.num_body_consts
        of_cond, of_body = operands[: self.num_cond_consts], operands[self.num_cond_consts : start]
        return list(of_cond), list(of_body), list(operands[start:])


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerCond(InnerPrograms):
    """Jaxprs of which one is run: `index, *operands`, and `branches[index](*operands)`.

    **Attributes:**

    - `branches`: the jaxprs. An index out of bounds is that of the nearest branch.
    - `platforms`: for `jax.lax.platform_dependent`, which platforms each branch is for; nothing, if
        it is the branch for all others. Else `None`.

    The example is that of `inner_programs`.
    """

    branches: tuple[AnyJaxpr, ...]
    platforms: tuple[tuple[str, ...] | None, ...] | None

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return self.branches


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerLinearSolve(InnerPrograms):
    """`jax.lax.custom_linear_solve`: of its jaxprs one is run, those for derivatives are not.

    **Attributes:**

    - `jaxpr`: what solves.
    - `start`, `num_consts`, `num_all_consts`: among the operands, where its constants begin, how
        many they are, and how many constants there are in all.

    The example is that of `inner_programs`.
    """

    jaxpr: AnyJaxpr
    start: int
    num_consts: int
    num_all_consts: int

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return (self.jaxpr,)

    def of_jaxpr(self, operands: Sequence[Any]) -> list[Any]:
        """Those of the operands that `jaxpr` is run with."""
        consts = operands[self.start : self.start + self.num_consts]
        return [*consts, *operands[self.num_all_consts :]]


@public("filtered_transforms.extend")
@dataclasses.dataclass(frozen=True)
class InnerShardMap(InnerPrograms):
    """One jaxpr that each shard of a mesh runs with its part of the operands.

    **Attributes:**

    - `jaxpr`: a `Jaxpr`.
    - `mesh`, `in_specs`, `out_specs`, `check_vma`: as for `jax.shard_map`.
    - `axes`: the axes of the mesh over which it is run by hand.
    - `num_shards`: how many shards these make.

    The example is that of `inner_programs`.
    """

    jaxpr: AnyJaxpr
    mesh: Mesh | AbstractMesh
    in_specs: tuple[Any, ...]
    out_specs: tuple[Any, ...]
    check_vma: bool
    axes: tuple[str, ...]

    @property
    def jaxprs(self) -> tuple[AnyJaxpr, ...]:
        return (self.jaxpr,)

    @property
    def num_shards(self) -> int:
        return math.prod(self.mesh.shape[name] for name in self.axes)


# --- how JAX writes them: the parameters of its primitives

Reader = Callable[[Equation], InnerPrograms]


def _call(kind: CallKind, *names: str) -> Reader:
    """Reads the jaxpr of a call from the parameter of that name, or of the next one."""

    def read(equation: Equation) -> InnerCall:
        name = next(name for name in names if name in equation.params)
        return InnerCall(equation.params[name], kind)

    return read


def _checkpoint(equation: Equation) -> InnerCall:
    params = equation.params
    return InnerCall(
        params["jaxpr"], "checkpoint", bool(params["differentiated"] and params["prevent_cse"])
    )


def _scan(equation: Equation) -> InnerScan:
    params = equation.params
    ends = params["length"], params["reverse"], params["unroll"]
    return InnerScan(params["jaxpr"], *_scan_sizes(params), *ends)


def _scan_sizes(params: dict[str, Any]) -> tuple[int, int]:
    """How many constants and how many values in the carry a scan has. JAX 0.12 keeps trees."""
    if "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


def _while(equation: Equation) -> InnerWhile:
    params = equation.params
    counts = params["cond_nconsts"], params["body_nconsts"]
    return InnerWhile(params["cond_jaxpr"], params["body_jaxpr"], *counts)


def _cond(equation: Equation) -> InnerCond:
    params = equation.params
    return InnerCond(tuple(params["branches"]), params.get("branches_platforms"))


def _linear_solve(equation: Equation) -> InnerLinearSolve:
    lengths = equation.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    return InnerLinearSolve(equation.params["jaxprs"].solve, start, lengths.solve, sum(lengths))


def _shard_map(equation: Equation) -> InnerShardMap:
    params = equation.params
    by_hand = params.get("manual_axes", params.get("newly_manual_axes"))
    return InnerShardMap(
        params["jaxpr"],
        params["mesh"],
        tuple(params["in_specs"]),
        tuple(params["out_specs"]),
        params["check_vma"],
        tuple(name for name in params["mesh"].axis_names if name in by_hand),
    )


_READERS: dict[str, Reader] = {
    "jit": _call("jit", "jaxpr"),
    "pjit": _call("jit", "jaxpr"),
    "checkpoint": _checkpoint,
    "remat2": _checkpoint,
    "custom_jvp_call": _call("custom_jvp", "call_jaxpr"),
    "custom_vjp_call": _call("custom_vjp", "call_jaxpr"),
    "custom_vjp_call_jaxpr": _call("custom_vjp", "fun_jaxpr"),
    "closed_call": _call("other", "call_jaxpr"),
    "core_call": _call("other", "call_jaxpr"),
    "eval_jaxpr": _call("other", "jaxpr", "call_jaxpr"),
    "linear_call": _call("other", "callee"),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "shard_map": _shard_map,
}


@public("filtered_transforms.extend")
def inner_programs(equation: Equation) -> InnerPrograms | None:
    """What the jaxprs in an equation are for.

    **Arguments:**

    - `equation`: of any primitive of JAX.

    **Returns:** an `InnerCall` (of a jitted or checkpointed function, or one with rules for its
    derivative), `InnerScan`, `InnerWhile`, `InnerCond`, `InnerLinearSolve` or `InnerShardMap`.
    `None` if the equation has no jaxpr, or if its primitive is not known here: then
    `equation.jaxprs` is not empty.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import InnerScan, equations, inner_programs, jaxpr_as_function

    def doubled(x):
        return jax.lax.scan(lambda carry, _: (2 * carry, None), x, length=3)[0]

    (equation,) = equations(jax.make_jaxpr(doubled)(1.0))
    inner = inner_programs(equation)
    assert isinstance(inner, InnerScan) and inner.length == 3
    consts, carry, xs = inner.split([5.0])
    assert jaxpr_as_function(inner.jaxpr)(*consts, *carry, *xs) == [10.0]
    ```
    """
    reader = _READERS.get(equation.name)
    return reader(equation) if reader is not None and equation.jaxprs else None
