"""Mistakes in the use of modules and of tree functions, each of which pyright and mypy find.

Checked, never run. The ignores say what is found: one that ignores nothing is an error.
"""

import jax
import jax.numpy as jnp

from pytree_module import (
    AbstractVar,
    Module,
    Partial,
    Static,
    StrictConfig,
    field,
    module_update_wrapper,
)
from tree_surgery import (
    Frozen,
    apply_updates,
    at,
    freeze,
    from_state_dict,
    load,
    save,
    tie,
    tree_apply,
    tree_at,
    tree_cast,
    tree_deserialise_leaves,
    tree_equal,
    tree_pformat,
    tree_set,
    tree_stack,
    tree_summary,
    where,
)


def to_float(x: int | str) -> float:
    return float(x)


class Linear(Module):
    weight: jax.Array
    bias: jax.Array | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x


class Net(Module):
    first: Linear
    name: str = field(static=True)
    depth: int = field(default=2, kw_only=True)


class Own(Module):
    weight: jax.Array

    def __init__(self, size: int) -> None:
        self.weight = jnp.ones(size)


class Frozen1(Module, frozen=True):
    x: int


class AbstractSized(Module):
    size: AbstractVar[int]


y = jnp.ones(3)
linear = Linear(y)
net = Net(linear, "net")


# What a constructor takes.

Net(linear)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Net(linear, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Net(linear, "net", 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Net(linear, "net", width=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Net("linear", "net")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Own("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Own()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# Fields.


class Wrong(Module):
    a: int = field(default="a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    b: int = field(default_factory=str)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    c: int = field(converter=to_float, default=1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType,reportGeneralTypeIssues]
    d: float = field(converter=to_float, default=[1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType,reportCallIssue]
    e: int = field(static="yes", default=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    f: int = field(inti=False, default=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


class WrongSize(AbstractSized):
    size: str  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]


# Nothing of a module is assigned, but its fields in `__init__`.

net.frist = linear  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
net.depth = "3"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
Frozen1(1).x = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
net.frist  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# Options of classes, and the modules of `pytree_module`.

StrictConfig(force="abstract")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
module_update_wrapper(to_float)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
number: Partial[int] = Partial(to_float, 3)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
Static[int]("relu")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Static("relu").value.weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# `tree_at` and selectors.

tree_at(lambda n: n.frist, net, linear)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
tree_at(3, net, linear)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
tree_at(lambda n: n.first, net)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
tree_at(Linear, net, replace_fn=to_float)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType,reportCallIssue]
tree_at("first", net, linear, is_leaf=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
tree_at("first", net, linear).weight  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def first(net: Net) -> Linear:
    return net.first


tree_at(first, linear, y)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree_at(first, net, replace_fn=to_float)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType,reportCallIssue]
tree_set(net, "first")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
tree_set(net, first, linear)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree_apply(net, "first", 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType,reportCallIssue]
tree_apply(net, Linear, to_float)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType,reportCallIssue]
at(net)[3].set(linear)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType,reportCallIssue]
at(net)[Linear].apply(to_float)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
at(net)["first"].set()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
where.type("Linear")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
where.leaf(first)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
where.path("first") | 3  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue,reportUnusedExpression]


# The rest of `tree_surgery`.

freeze(net, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Frozen(y) + y  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue,reportUnusedExpression]
Frozen(y).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
tie(net, ("first", "second"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree_cast(net, 32)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree_stack(net)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
apply_updates(net)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
tree_summary(net, format="latex")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tree_pformat(net, widht=80)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
equal: bool = tree_equal(net, net)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
save(open("net.txt", "w"), net)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
load(net, "net")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType,reportCallIssue]
load("net", net, strict=False).first  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from_state_dict([y], net)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType,reportCallIssue]
tree_deserialise_leaves("net", net).frist  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
