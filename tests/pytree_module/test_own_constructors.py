"""Classes with an `__init__` or a `__new__` of their own."""

import dataclasses

import jax
import pytest

from pytree_module import Module


class Point(Module):
    x: float
    y: float = 0.0


class Own(Module):
    x: int

    def __init__(self, x: int):
        self.x = x


def test_subclass_of_an_own_init_uses_it() -> None:
    class Child(Own):
        y: int = 3

    assert (Child(1).x, Child(1).y) == (1, 3)
    with pytest.raises(TypeError, match="2 positional arguments but 3 were given|takes 2"):
        Child(1, 2)


def test_own_init_in_a_subclass_of_a_generated_one() -> None:
    class Diagonal(Point):
        def __init__(self, x: float):
            super().__init__(x, x)

    assert jax.tree_util.tree_leaves(Diagonal(2.0)) == [2.0, 2.0]


def test_init_and_post_init_together_warn() -> None:
    with pytest.warns(UserWarning, match="both an `__init__` method and a"):

        class Both(Module):
            def __init__(self) -> None:
                pass

            def __post_init__(self) -> None:
                raise AssertionError("not to be run")

    Both()


def test_own_new_and_own_setattr() -> None:
    log = []

    class Logged(Module):
        a: int

        def __new__(cls, a: int) -> "Logged":
            log.append("new")
            return super().__new__(cls)

        def __setattr__(self, name: str, value: object) -> None:
            log.append(name)
            super().__setattr__(name, value)

    assert Logged(1).a == 1 and log == ["new", "a"]


def test_new_that_returns_an_existing_instance_does_not_initialise_it_again() -> None:
    class Single(Module):
        a: int
        made = None

        def __new__(cls, a: int) -> "Single":
            if cls.made is None:
                cls.made = super().__new__(cls)
            return cls.made

    first = Single(1)
    assert Single(2) is first and first.a == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.a = 3


@pytest.mark.parametrize("again", [lambda: Point(1.0).__init__(2.0), lambda: Own(1).__init__(2)])
def test_initialising_again_is_an_error(again) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        again()


def test_slots_are_refused() -> None:
    with pytest.raises(TypeError, match="`Slotted` defines `__slots__`"):

        class Slotted(Module):
            a: int
            __slots__ = ("a",)


def test_init_false_generates_none_and_inherits_what_is_there() -> None:
    class Own(Module):
        x: int

        def __init__(self, x: str) -> None:
            self.x = int(x)

    class Child(Own, init=False):
        y: int = 2

    class Generated(Module):
        x: int

    class Renamed(Generated, init=False):
        y: int = 2

    class Below(Renamed):
        z: int = 3

    assert Child("1") == Child("1") and (Child("1").x, Child("1").y) == (1, 2)
    assert "__init__" not in vars(Child)
    assert (Renamed(1).x, Renamed(1).y) == (1, 2)
    with pytest.raises(TypeError, match="y"):
        Renamed(1, y=3)
    assert (Below(1, 4, z=5).y, Below(1, 4, z=5).z) == (4, 5)


def test_frozen_false_is_refused_and_frozen_true_accepted() -> None:
    class Explicit(Module, frozen=True):
        a: int

    assert Explicit(1).a == 1
    with pytest.raises(TypeError, match="every Module is frozen"):

        class Loose(Module, frozen=False):
            a: int


def test_own_new_may_set_an_attribute() -> None:
    class Tagged(Module):
        x: int

        def __new__(cls, x):
            module = super().__new__(cls)
            object.__setattr__(module, "tag", "t")
            return module

    assert Tagged(3).x == 3 and jax.tree.leaves(Tagged(3)) == [3]
