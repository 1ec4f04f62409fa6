"""`tree_replace`: other values in fields, past `__init__`."""

import collections
import dataclasses as dc
import functools as ft
from typing import Any

import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import (
    WhereError,
    tree_replace,
    tree_set,
)

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    size: Any = dc.field(default=3, metadata={"static": True})


@jtu.register_pytree_node_class
@dc.dataclass
class Picky:
    """A dataclass whose `__init__` does not take its fields, and which checks them."""

    weight: Any
    name: str

    def __init__(self, size: int):
        assert isinstance(size, int)
        self.weight = np.ones(size)
        self.name = f"picky {size}"

    def __post_init__(self):
        raise AssertionError("nobody calls this")

    @ft.cached_property
    def total(self):
        return self.weight.sum()

    def tree_flatten(self):
        return [self.weight], self.name

    @classmethod
    def tree_unflatten(cls, name, children):
        new = object.__new__(cls)
        (new.weight,), new.name = children, name
        return new


@dc.dataclass(frozen=True, slots=True)
class Slots:
    a: Any
    b: Any = 2


def test_replace():
    picky = Picky(3)
    assert picky.total == 3
    new = tree_replace(picky, name="other", weight=np.ones(5))
    assert type(new) is Picky and (new.name, new.total, len(new.weight)) == ("other", 5, 5)
    assert (picky.name, picky.total) == ("picky 3", 3)
    assert tree_set({"p": picky}, "p.name", "x")["p"].name == "x"
    assert tree_replace(Layer(1, 2), size=4, bias=None) == Layer(1, None, 4)
    assert tree_replace(Slots(1), b=3) == Slots(1, 3)
    assert tree_replace(Pair(1, 2), left=0) == Pair(0, 2)
    assert tree_replace(Layer(1, 2)) == Layer(1, 2)
    assert tree_replace(Slots(1), a=Slots) == Slots(Slots)


def test_replace_of_a_field_called_like_its_parameter():
    @dc.dataclass(frozen=True)
    class Tree:
        node: int
        self: int

    assert tree_replace(Tree(1, 2), node=3, self=4) == Tree(3, 4)


def test_replace_wrongly():
    with pytest.raises(
        WhereError, match="has no field `wieght`. Its fields are weight, bias, size"
    ):
        tree_replace(Layer(1, 2), wieght=3)
    with pytest.raises(WhereError, match="has no field `c`. Its fields are left, right"):
        tree_replace(Pair(1, 2), c=3)
    for node in ([1], {"a": 1}, Layer, 3):
        with pytest.raises(WhereError, match="needs an instance of a dataclass or a namedtuple"):
            tree_replace(node, a=3)
