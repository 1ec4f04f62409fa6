# pyright: strict, reportUnknownMemberType=false, reportUnnecessaryTypeIgnoreComment=true
"""What a type checker sees of `pytree_module`. `hatch run types` reads this; it is never run.

Each line with an ignore is a mistake that has to be found: an ignore without one is an error too.
"""

from typing import Generic, TypeVar, assert_type

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

T = TypeVar("T")


def to_float(x: int | str) -> float:
    return float(x)


class Generated(Module):
    x: int
    y: str = "a"
    z: float = field(converter=to_float, default=1)
    s: int = field(static=True, default=1)
    k: int = field(default_factory=lambda: 3, kw_only=True)


made = Generated(1, "b", "2", k=4)  # type: ignore[arg-type]  # mypy knows no converters
assert_type(made.z, float)  # the parameter is `int | str`, the attribute a float
Generated("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Generated(1, "b", [2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Generated(1, w=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Own(Module):
    weight: jax.Array

    def __init__(self, size: int):
        self.weight = jnp.ones(size)

    def method(self, x: int) -> str:
        return str(x)

    def __call__(self, x: int) -> float:
        return float(x)


assert_type(Own(3)(1), float)
assert_type(Own(3).method(1), str)
assert_type(module_update_wrapper(Own(3)), Own)
Own("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Frozen(Module, frozen=True):
    x: int


Frozen(1).x = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


class AbstractSized(Module):
    size: AbstractVar[int]


class Sized(AbstractSized, strict=False):
    size: int


assert_type(Sized(1).size, int)


class AbstractForced(Module, strict=StrictConfig(force_abstract=True)):
    pass


class Box(Module, Generic[T]):
    value: T


assert_type(Box(3).value, int)
assert_type(Partial(to_float, 3), Partial[float])

assert_type(Static("relu").value, str)
assert_type(Static[int | None](None).value, int | None)
Static[int]("relu")  # pyright: ignore[reportArgumentType]
