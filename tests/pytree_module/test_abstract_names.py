"""What a class leaves open can be asked of it: the sets are those that Equinox 0.13.8 gives."""

import abc
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from pytree_module import AbstractClassVar, AbstractVar, Module

T = TypeVar("T")


class Open(Module):
    x: AbstractVar[int]
    y: AbstractClassVar[str]
    z: int

    @abc.abstractmethod
    def f(self) -> None: ...


class ByField(Open):
    x: int


class ByValue(Open):
    y = "value"


class ByAll(Open):
    y: ClassVar[str] = "value"

    @property
    def x(self) -> int:  # type: ignore[override]
        return 1


class More(Open, Generic[T]):
    w: AbstractVar[float]


class NoMore(More[int]):
    def f(self) -> None: ...


class Plain:
    x = 3


class MixinBefore(Plain, Open):
    pass


class MixinAfter(Open, Plain):
    pass


class OpenAgain(ByField):
    x: AbstractVar[int]


class Weaker(Open):
    y: AbstractVar[str]


class Stronger(Open):
    x: AbstractClassVar[int]


class ByMethod(Open):
    def x(self) -> int:  # type: ignore[override]
        return 1


class ByAbstractProperty(Open):
    @property
    @abc.abstractmethod
    def x(self) -> int:  # type: ignore[override]
        ...


@pytest.mark.parametrize(
    ("cls", "attributes", "class_attributes"),
    [
        (Module, "", ""),
        (Open, "x", "y"),
        (ByField, "", "y"),
        (ByValue, "x", ""),
        (ByAll, "", ""),
        (More, "wx", "y"),
        (NoMore, "wx", "y"),
        (MixinBefore, "", "y"),
        (MixinAfter, "x", "y"),
        (OpenAgain, "x", "y"),
        (Weaker, "x", "y"),
        (Stronger, "", "xy"),
        (ByMethod, "", "y"),
        (ByAbstractProperty, "", "y"),
    ],
)
def test_names(cls: Any, attributes: str, class_attributes: str) -> None:
    assert cls.__abstractvars__ == frozenset(attributes)
    assert cls.__abstractclassvars__ == frozenset(class_attributes)
    assert isinstance(cls.__abstractvars__, frozenset)
    assert isinstance(cls.__abstractclassvars__, frozenset)
