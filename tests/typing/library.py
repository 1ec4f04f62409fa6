"""A library of abstract classes, written for others to subclass: what `pytree_module` says of it.

Checked by pyright and mypy, never run.
"""

import abc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar, assert_type

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from pytree_module import (
    AbstractClassVar,
    AbstractVar,
    Module,
    Partial,
    Static,
    StrictConfig,
    field,
    module_update_wrapper,
    static_field,
)

State = TypeVar("State")
T = TypeVar("T")
M = TypeVar("M", bound=Module)


# Abstract classes, generic in the state that a solver keeps.


class AbstractSolver(Module, Generic[State], strict=StrictConfig()):
    order: AbstractClassVar[int]
    tolerance: AbstractVar[float]

    @abc.abstractmethod
    def init(self, y: jax.Array) -> State: ...

    @abc.abstractmethod
    def step(self, y: jax.Array, state: State) -> tuple[jax.Array, State]: ...

    def twice(self, y: jax.Array) -> tuple[jax.Array, State]:
        assert_type(self.order, int)
        assert_type(self.tolerance, float)
        return self.step(*self.step(y, self.init(y)))


class Euler(AbstractSolver[int], strict=StrictConfig()):
    # pyright knows a `ClassVar` by its name only, and takes `AbstractClassVar` for an attribute.
    order: ClassVar[int] = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    tolerance: float = 1e-3

    def init(self, y: jax.Array) -> int:
        return 0

    def step(self, y: jax.Array, state: int) -> tuple[jax.Array, int]:
        return y, state + 1


class AbstractSized(Module):
    size: AbstractVar[int]

    def double(self) -> int:
        return 2 * self.size


class Sized(AbstractSized):
    size: int
    name: str = "sized"


class Measured(AbstractSized):
    """Closed by a property, which both checkers refuse, with an `__init__`."""

    items: list[str]

    def __init__(self, items: list[str]) -> None:
        self.items = items

    @property  # type: ignore[misc]
    def size(self) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.items)


assert_type(Sized(3).size, int)
assert_type(Measured(["a"]).size, int)
assert_type(Measured(["a"]).double(), int)


class AbstractForced(Module, strict=StrictConfig(force_abstract=True)):
    pass


y = jnp.ones(3)
assert_type(Euler(), Euler)
assert_type(Euler(tolerance=1e-6).tolerance, float)
assert_type(Euler.order, int)
assert_type(Euler().step(y, 0), tuple[jax.Array, int])
assert_type(Euler().twice(y), tuple[jax.Array, int])


def solve(solver: AbstractSolver[State], y: jax.Array) -> State:
    return solver.twice(y)[1]


assert_type(solve(Euler(), y), int)


# Fields.


def to_tuple(x: int | tuple[int, ...]) -> tuple[int, ...]:
    return (x,) if isinstance(x, int) else x


class Fields(Module):
    weight: jax.Array
    name: str = field(static=True)
    bias: jax.Array | None = None
    activation: Callable[[jax.Array], jax.Array] = field(static=True, default=jax.nn.relu)
    sizes: list[int] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict, static=True, repr=False)
    total: jax.Array = field(init=False)
    rate: float = field(default=0.1, kw_only=True, metadata={"unit": "1/s"})
    old: int = static_field(default=3)


fields = Fields(y, "linear", rate=0.5)
assert_type(fields.weight, jax.Array)
assert_type(fields.bias, jax.Array | None)
assert_type(fields.activation(y), jax.Array)
assert_type(fields.sizes, list[int])
assert_type(fields.total, jax.Array)
assert_type(fields.old, int)


class Converted(Module):
    weight: jax.Array = field(converter=jnp.asarray)
    kernel: tuple[int, ...] = field(converter=to_tuple, default=3)
    scale: float = field(converter=float, default_factory=lambda: "1.0")


Converted(y)
Converted([1.0, 2.0], 5, "2.5")  # type: ignore[arg-type]  # mypy knows no converters
assert_type(Converted(y).kernel, tuple[int, ...])


class Declared(Module):
    """What the constructor takes, for type checkers without converters: it is never run."""

    weight: jax.Array = field(converter=jnp.asarray)

    if TYPE_CHECKING:

        def __init__(self, weight: ArrayLike) -> None: ...


Declared(1.0)
assert_type(Declared(1.0).weight, jax.Array)


class Linear(Module):
    """An `__init__` of its own."""

    weight: jax.Array

    def __init__(self, in_size: int, out_size: int, *, key: jax.Array) -> None:
        self.weight = jax.random.normal(key, (out_size, in_size))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x

    def scaled(self, by: float) -> Self:
        return self


class Wide(Linear, init=False):  # the `__init__` of `Linear`
    def narrowed(self) -> Linear:
        return self


linear = Linear(3, 2, key=jax.random.key(0))
assert_type(linear(y), jax.Array)
assert_type(linear.scaled(2.0), Linear)
assert_type(Wide(3, 2, key=jax.random.key(0)).scaled(2.0), Wide)
assert_type(linear == linear, bool | jax.Array)
assert_type(hash(linear), int)
vmapped: Callable[[jax.Array], jax.Array] = jax.vmap(linear)


# A generic container of modules.


class Stack(Module, Generic[M]):
    layers: tuple[M, ...]

    def __getitem__(self, index: int) -> M:
        return self.layers[index]

    def __iter__(self) -> Iterator[M]:
        return iter(self.layers)

    def append(self, layer: M) -> "Stack[M]":
        return Stack((*self.layers, layer))


stack = Stack((linear, linear))
assert_type(stack, Stack[Linear])
assert_type(stack[0](y), jax.Array)
assert_type(stack.append(linear), Stack[Linear])
assert_type([layer.weight for layer in stack], list[jax.Array])


class Box(Module, Generic[T]):
    value: T


class IntBox(Box[int]):
    pass


assert_type(Box(3).value, int)
assert_type(Box(linear).value, Linear)
assert_type(IntBox(3).value, int)


# The modules of `pytree_module` itself.


def scale(x: jax.Array, by: float) -> jax.Array:
    return x * by


assert_type(Partial(scale, by=2.0), Partial[jax.Array])
assert_type(Partial(scale, by=2.0)(y), jax.Array)
assert_type(Static("relu").value, str)
assert_type(Static({"a": 1}), Static[dict[str, int]])
assert_type(Static[int | None](None).value, int | None)


class Timed(Module):
    fn: Callable[[jax.Array], jax.Array]

    @property
    def __wrapped__(self) -> Callable[[jax.Array], jax.Array]:
        return self.fn

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fn(x)


assert_type(module_update_wrapper(Timed(jnp.sin)), Timed)
assert_type(module_update_wrapper(Timed(jnp.sin), jnp.sin), Timed)
