"""What quax does with the metaclass, and with static values that are no PyTrees."""

import dataclasses
import inspect
import warnings
from abc import abstractmethod
from typing import Any

import jax
import numpy as np
import pytest

from pytree_module import AbstractVar, Module, field

ModuleMeta: Any = type(Module)


class FastMeta(ModuleMeta):
    """Makes instances without the checks of `Module`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__is_abstract__():
            return super().__call__(*args, **kwargs)
        module = cls.__new__(cls)
        cls.__unfreeze__(module)
        try:
            module.__init__(*args, **kwargs)
        finally:
            cls.__freeze__(module)
        return module


class Value(Module, metaclass=FastMeta):
    array: Any
    name: str = field(static=True, default="x")

    def __init__(self, array):
        self.array = array


class Open(Module, metaclass=FastMeta):
    size: AbstractVar[int]

    @abstractmethod
    def area(self): ...


def test_an_own_metaclass_makes_frozen_trees_with_defaults():
    value = Value(np.arange(3.0))
    assert vars(value).keys() == {"array", "name"} and value.name == "x"
    doubled = jax.tree.map(lambda x: 2 * x, value)
    assert type(doubled) is Value and doubled.name == "x"
    np.testing.assert_array_equal(doubled.array, [0, 2, 4])
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.array = 1


def test_what_is_abstract_says_so():
    assert Open.__is_abstract__() and inspect.isabstract(Open)
    assert not Value.__is_abstract__() and not Module.__is_abstract__()
    with pytest.raises(TypeError, match="abstract"):
        Open()


class Unit:
    """Has a hash and no order."""


class Quantity(Module):
    value: Any
    units: dict[Unit, int] = field(static=True)


@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_a_static_dictionary_whose_keys_have_no_order(held: bool):
    others = []

    class Sub(Quantity):
        def __init__(self, *args: Any):
            self.value, self.units = args
            if held:
                others.append(self)  # a second reference: it is searched for cycles

    units = {Unit(): 1, Unit(): -1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a dictionary has no hash
        quantity = Sub(2.0, units)
    assert quantity.units is units
    assert jax.tree.leaves(quantity) == [2.0]
