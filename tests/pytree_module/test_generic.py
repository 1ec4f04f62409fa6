"""Generic classes: the type in brackets is a note on an instance, and no part of the tree."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import Module, Partial, Static, field
from tree_surgery import tree_equal

T = TypeVar("T")
U = TypeVar("U")


class Box(Module, Generic[T]):
    x: T
    name: str = field(static=True, default="box")


class Pair(Box[T], Generic[T, U]):
    y: U = field(kw_only=True)


class Fixed(Box[int]):
    pass


class Kept(Module, Generic[T]):
    """Its instances exist before they are asked for."""

    x: int

    def __new__(cls, x: int) -> "Kept[Any]":
        return KEPT.get(x) or super().__new__(cls)


KEPT: dict[int, Kept[Any]] = {}


@pytest.mark.parametrize(
    ("alias", "args"),
    [
        (Box[int], (1,)),
        (Box[Box[str]], (Box("a"),)),
        (Box[T], (1,)),
        (Partial[int], (len, [1])),
        (Static[int], (1,)),
    ],
    ids=str,
)
def test_an_instance_knows_the_alias_that_made_it(alias: Any, args: tuple[Any, ...]) -> None:
    assert alias(*args).__orig_class__ == alias
    assert not hasattr(alias.__origin__(*args), "__orig_class__")


def test_subclasses() -> None:
    assert Pair[int, str](1, y="a").__orig_class__ == Pair[int, str]
    assert not hasattr(Fixed(1), "__orig_class__")
    with pytest.raises(TypeError):
        _ = Fixed[int]  # type: ignore[misc]


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_keep_it(again: Callable[[Any], Any]) -> None:
    assert again(Box[int](1)).__orig_class__ == Box[int]
    assert again(Box[int](1)) == Box(1)


def test_trees_do_not_see_it() -> None:
    noted, plain, other = Box[int](1), Box(1), Box[str](1)
    structure = jax.tree.structure
    assert structure(noted) == structure(plain) == structure(other)
    assert noted == plain == other and hash(noted) == hash(plain)
    assert tree_equal(noted, plain, other) and repr(noted) == "Box(x=1)"
    # As on Equinox: what a transformation returns is made anew.
    assert not hasattr(jax.tree.map(lambda x: x, noted), "__orig_class__")
    traces = 0

    @jax.jit
    def double(box: Box[Any]) -> Any:
        nonlocal traces
        traces += 1
        return 2 * box.x

    assert [double(box) for box in (noted, plain, other)] == [2, 2, 2] and traces == 1


@pytest.mark.parametrize("value", [3, list[int], Pair[int, str], Static[int]], ids=str)
def test_nothing_else_can_be_written_there(value: Any) -> None:
    box = Box(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        box.__orig_class__ = value  # type: ignore[attr-defined]
    assert not hasattr(box, "__orig_class__")


def test_the_first_note_stays() -> None:
    KEPT[1] = Kept(1)
    first, second = Kept[int](1), Kept[str](1)
    assert first is second is KEPT[1]
    assert first.__orig_class__ == Kept[int]


class Unset(Module):
    """Declares what its subclasses say."""

    name: str = field(static=True)
    scale: Any
    factor: Any = field(init=False)
    x: jax.Array

    def __init__(self, x: Any) -> None:
        self.x = jnp.asarray(x)

    def __call__(self) -> jax.Array:
        return self.x * self.scale * self.factor


class Said(Unset):
    name = "said"
    scale = np.float32(2.0)
    factor = 3.0


class SaidAgain(Said):
    scale = np.float32(4.0)


class Says:
    name: str = "mixin"
    scale = np.float32(2.0)
    factor = 3.0


class SaidByMixinAfter(Unset, Says):
    pass


class SaidByMixinBefore(Says, Unset):
    pass


class Defaults(Module):
    name: Any = "default"
    text: Any = field(default_factory=lambda: "default")

    def __init__(self) -> None:
        pass


class Override(Defaults):
    name = "override"
    text = "override"


class Converted(Module):
    name: str = field(converter=str.upper)

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name


class ConvertedSaid(Converted):
    name = "said"


@pytest.mark.parametrize("cls", [Said, SaidAgain, SaidByMixinAfter, SaidByMixinBefore])
def test_a_class_attribute_in_the_place_of_a_field_is_no_leaf(cls: Any) -> None:
    made = cls([1.0, 2.0])
    assert vars(made).keys() == {"x"}
    (path, leaf), *rest = jax.tree_util.tree_leaves_with_path(made)
    assert jax.tree_util.keystr(path) == ".x" and leaf.tolist() == [1.0, 2.0] and rest == []
    product = {SaidAgain: 12.0}.get(cls, 6.0)
    np.testing.assert_array_equal(jax.jit(lambda m: m())(made), [product, 2 * product])
    assert jax.grad(lambda m: m().sum())(made).x.tolist() == [product, product]
    mapped = jax.tree.map(lambda x, y: x + y, made, made)
    assert mapped.name == cls.name and mapped.x.tolist() == [2.0, 4.0]
    assert jax.tree.structure(made) == jax.tree.structure(cls([3.0]))


def test_a_class_attribute_below_overrides_a_default() -> None:
    assert jax.tree.leaves(Defaults()) == ["default", "default"]
    assert jax.tree.leaves(Override()) == [] and Override().name == Override().text == "override"


def test_a_field_that_init_sets_is_a_leaf_all_the_same() -> None:
    assert jax.tree.leaves(ConvertedSaid("set")) == ["SET"] and ConvertedSaid("set").name == "SET"
    assert jax.tree.leaves(ConvertedSaid()) == [] and ConvertedSaid().name == "said"
    with pytest.raises(TypeError, match="Field 'name' was not initialized"):
        Converted()


class Documented(Module):
    x: int

    def __init__(self, x: int) -> None:
        """Sets `x`."""
        self.x = x


class Patched(Module):
    x: int


Patched.__init__.__doc__ = "Of the base."


class Below(Patched):
    y: int


class Post(Module):
    x: int

    def __post_init__(self) -> None:
        """Not this."""


@pytest.mark.parametrize(
    ("cls", "doc"),
    [
        (Documented, "Sets `x`."),
        (Below, "Of the base."),
        (Post, object.__init__.__doc__),
        (Module, object.__init__.__doc__),
    ],
)
def test_a_generated_init_has_the_docstring_of_its_bases(cls: type, doc: str) -> None:
    assert cls.__init__.__doc__ == doc
