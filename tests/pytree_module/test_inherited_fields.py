"""Fields of base classes: their order, their names, and what a subclass puts in their place."""

import dataclasses
from typing import Generic, TypeVar

import jax
import pytest

from pytree_module import Module

T = TypeVar("T")


class Point(Module):
    x: float
    y: float = 0.0


def test_fields_are_inherited_in_order() -> None:
    class Point3(Point):
        z: float = 1.0

    assert jax.tree_util.tree_leaves(Point3(1.0, 2.0, 3.0)) == [1.0, 2.0, 3.0]


def test_fields_may_be_named_as_what_python_calls_classes() -> None:
    class Odd(Module):
        cls: int
        owner: int = 2

    assert (Odd(cls=1).cls, Odd(cls=1, owner=3).owner) == (1, 3)


def test_a_property_in_place_of_a_field_is_no_part_of_the_tree() -> None:
    class Base(Module):
        x: int
        scale: float

    class Computed(Base):
        y: int

        def __init__(self, y: int):
            self.y, self.scale = y, 2.0

        @property
        def x(self) -> int:
            return self.y + 1

    made = Computed(3)
    assert made.x == 4 and jax.tree_util.tree_leaves(made) == [2.0, 3]
    doubled = jax.tree_util.tree_map(lambda leaf: 2 * leaf, made)
    assert (doubled.x, doubled.scale, doubled.y) == (7, 4.0, 6)
    assert doubled == doubled and made != doubled and "x=4" in repr(made)

    class Still(Base):
        @property
        def x(self) -> int:
            return 1

        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="'scale' was not initialized"):
        Still()


def test_mixins_plain_and_dataclass() -> None:
    class Plain:
        def twice(self) -> float:
            return 2 * self.x

    @dataclasses.dataclass
    class Named:
        q: int

    class Mixed(Plain, Named, Module):
        x: float

    mixed = Mixed(1, 2.5)
    assert mixed.twice() == 5.0 and jax.tree_util.tree_leaves(mixed) == [1, 2.5]


def test_generics_can_be_subscripted_and_called() -> None:
    class Box(Module, Generic[T]):
        value: T

    class IntBox(Box[int]):
        pass

    assert Box[int](3) == Box(3)
    assert IntBox(3).value == 3
