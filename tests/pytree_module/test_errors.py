"""Immutability, abstract attributes, strict classes, equality and hash."""

import abc
import dataclasses
import inspect
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import AbstractClassVar, AbstractVar, Module, StrictConfig, field


class Point(Module):
    x: object
    y: object = 0


# Immutable.


def test_assigning_to_a_field_names_the_way_to_replace_it() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"tree_at\(lambda m: m.x, module"):
        Point(1).x = 2


def test_assigning_to_another_name_says_that_there_is_no_such_field() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"'z'.*`Point` has no field"):
        Point(1).z = 2


def test_deleting_a_field_is_refused() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


# Abstract.


class AbstractShape(Module):
    sides: AbstractVar[int]
    name: AbstractClassVar[str]

    @abc.abstractmethod
    def area(self) -> float: ...


def test_abstract_attributes_are_no_fields() -> None:
    # https://github.com/danielward27/flowjax/issues/228
    assert dataclasses.fields(AbstractShape) == ()
    assert list(inspect.signature(AbstractShape).parameters) == []


def test_open_attributes_are_named() -> None:
    class AbstractNamed(Module):
        sides: AbstractVar[int]
        name: AbstractClassVar[str]

    expected = r"abstract class AbstractNamed with abstract attributes \{'sides'\} and .*\{'name'\}"
    with pytest.raises(TypeError, match=expected):
        AbstractNamed()


def _field():
    class Closed(AbstractShape):
        name: ClassVar[str] = "n"
        sides: int = 3

        def area(self) -> float:
            return 1.0

    return Closed


def _property():
    class Closed(AbstractShape):
        name = "n"

        @property
        def sides(self) -> int:
            return 3

        def area(self) -> float:
            return 1.0

    return Closed


def _class_attributes():
    class Closed(AbstractShape):
        name = "n"
        sides = 3

        def area(self) -> float:
            return 1.0

    return Closed


def _instance_attribute_for_a_class_variable():
    # https://github.com/patrick-kidger/equinox/issues/1198
    class Closed(AbstractShape):
        name: str = "n"
        sides: int = 3

        def area(self) -> float:
            return 1.0

    return Closed


def _mixin():
    class Sides(Module):
        sides: int = 3
        name: ClassVar[str] = "n"

    class Closed(Sides, AbstractShape):
        def area(self) -> float:
            return 1.0

    return Closed


@pytest.mark.parametrize(
    "close",
    [_field, _property, _class_attributes, _instance_attribute_for_a_class_variable, _mixin],
)
def test_ways_to_close_an_attribute(close) -> None:
    made = close()()
    assert (made.sides, made.name, made.area()) == (3, "n", 1.0)
    assert jax.tree_util.tree_map(lambda x: x, made) == made


def test_open_abstract_method_is_named() -> None:
    class Half(AbstractShape):
        name = "n"
        sides: int = 3

    with pytest.raises(TypeError, match="abstract method '?area"):
        Half()


def test_abstract_attribute_with_a_value_is_refused_at_definition() -> None:
    with pytest.raises(TypeError, match=r"`.*Wrong.x` is annotated as abstract and set to 3"):

        class Wrong(Module):
            x: AbstractVar[int] = 3


def test_closed_attribute_can_be_opened_again() -> None:
    class AbstractAgain(Point):
        x: AbstractVar[int]

    with pytest.raises(TypeError, match="abstract attributes {'x'}"):
        AbstractAgain(1)


@pytest.mark.parametrize("annotation", ["AbstractVar[int]", "AbstractVar", "pm.AbstractVar['int']"])
def test_annotations_in_strings(annotation: str) -> None:
    class AbstractStringly(Module):
        __annotations__ = {"x": annotation}

    class Closed(AbstractStringly):
        x: int

    with pytest.raises(TypeError, match="abstract attributes {'x'}"):
        AbstractStringly()
    assert Closed(1).x == 1


import pytree_module as pm  # noqa: E402, F401 (looked up by name above)

# Strict.


def test_strict_pattern_works() -> None:
    class AbstractA(Module, strict=StrictConfig()):
        x: AbstractVar[int]

        @abc.abstractmethod
        def f(self) -> int: ...

        def g(self) -> int:
            return self.f() + self.x

    class AbstractB(AbstractA, strict=StrictConfig(force_abstract=True)):
        def f(self) -> int:
            return 1

    class C(AbstractB, strict=StrictConfig()):
        x: int

    assert C(2).g() == 3


def test_strict_true_is_accepted_and_asks_for_nothing() -> None:
    # distreqx overrides properties in such classes.
    class AbstractA(Module, strict=True):
        @property
        def name(self) -> str:
            return "a"

    class B(AbstractA, strict=True):
        @property
        def name(self) -> str:
            return "b"

    assert B().name == "b"


def _abstract(**kwargs) -> type:
    class AbstractBase(Module, strict=StrictConfig()):
        x: AbstractVar[int]

        def g(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return True

    return AbstractBase


def _overrides() -> None:
    class Final(_abstract(), strict=StrictConfig()):
        x: int

        def g(self) -> int:
            return 2


def _overrides_a_dunder() -> None:
    # https://github.com/patrick-kidger/equinox/issues/1042
    class Final(_abstract(), strict=StrictConfig()):
        x: int

        def __eq__(self, other: object) -> bool:
            return False


def _inherits_from_final() -> None:
    class Final(_abstract(), strict=StrictConfig()):
        x: int

    class More(Final, strict=StrictConfig()):
        pass


def _inherits_from_lax() -> None:
    class More(Point, strict=StrictConfig()):
        pass


def _leaves_open() -> None:
    class Final(_abstract(), strict=StrictConfig()):
        pass


def _called_abstract() -> None:
    class AbstractFinal(_abstract(), strict=StrictConfig()):
        x: int


def _fields_in_two_classes() -> None:
    class AbstractFields(Module, strict=StrictConfig()):
        x: AbstractVar[int]
        y: int

    class Final(AbstractFields, strict=StrictConfig()):
        x: int


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (_overrides, r"Final` overrides `g`, which is concrete in `.*AbstractBase`"),
        (_overrides_a_dunder, r"Final` overrides `__eq__`"),
        (_inherits_from_final, r"More` inherits from `.*Final`, which is concrete"),
        (_inherits_from_lax, r"More` inherits from `Point`, which is not strict"),
        (_leaves_open, r"Final` is abstract, since it leaves x open"),
        (_called_abstract, r"AbstractFinal` is called abstract but leaves no method"),
        (_fields_in_two_classes, r"Final` defines fields or an `__init__`, and so does .*Fields`"),
    ],
)
def test_strict_violations_are_found_at_definition(define, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        define()


def test_strict_config_takes_both_spellings_and_nothing_else() -> None:
    assert (
        StrictConfig(force_abstract=True) == StrictConfig(True) == StrictConfig(force_abstact=True)
    )
    with pytest.raises(TypeError, match="force"):
        StrictConfig(force=True)


# Equality and hash.


class Static(Module):
    a: object
    n: object = field(static=True, default=1)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (Point(1), Point(1), True),
        (Point(1), Point(2), False),
        (Point(1), Point(1.0), True),  # as Python numbers are
        (Point(jnp.ones(2)), Point(jnp.ones(2)), True),
        (Point(jnp.ones(2)), Point(jnp.ones(3)), False),
        (Point(jnp.ones(2)), Point(jnp.ones(2, jnp.int32)), False),
        (Point(np.ones(2)), Point(np.ones(2)), True),
        (Point([1, Point("a")]), Point([1, Point("a")]), True),
        (Point([1]), Point((1,)), False),
        (Static(1, 2), Static(1, 2), True),
        (Static(1, 2), Static(1, 3), False),
        (Point(1), Static(1), False),
        (Point(1), 1, False),
        (Point(1), None, False),
    ],
)
def test_equality_is_by_type_structure_and_value(left, right, equal: bool) -> None:
    assert bool(left == right) is equal
    assert bool(right == left) is equal
    assert bool(left != right) is not equal


def test_equality_is_traced_under_jit() -> None:
    same = jax.jit(lambda a, b: a == b)
    assert bool(same(Point(jnp.ones(2)), Point(jnp.ones(2)))) is True
    assert bool(same(Point(jnp.ones(2)), Point(jnp.zeros(2)))) is False


def test_equality_asks_the_other_side() -> None:
    class Anything:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None

    assert Point(1) == Anything()


def test_hash_works_where_leaves_hash_and_counts_the_class() -> None:
    # https://github.com/patrick-kidger/equinox/issues/393
    class Other(Module):
        x: object
        y: object = 0

    assert hash(Point(1)) == hash(Point(1))
    assert hash(Point(1)) != hash(Other(1)) and hash(Point(1)) != hash(Point(2))
    assert len({Point("a"), Point("a"), Point("b")}) == 2
    squares = jax.jit(lambda p, x: p.x * x, static_argnums=0)
    assert squares(Point(3), 2) == 6


def test_hash_names_the_leaf_that_has_none() -> None:
    with pytest.raises(TypeError, match=r"unhashable type: 'set'.*`Point.x\[1\].y`"):
        hash(Point([1, Point(2, {3})]))


def test_own_dunders_win() -> None:
    class Mine(Module):
        a: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 3

        def __repr__(self) -> str:
            return "mine"

    assert Mine(1) == 7 and hash(Mine(1)) == 3 and repr(Mine(1)) == str(Mine(1)) == "mine"


def test_a_class_forced_abstract_is_not_instantiated() -> None:
    class AbstractFoo(Module, strict=StrictConfig(force_abstract=True)):
        pass

    class Foo(AbstractFoo, strict=StrictConfig()):
        x: int

    with pytest.raises(TypeError, match=r"abstract class AbstractFoo.*force_abstract"):
        AbstractFoo()
    assert Foo(1).x == 1


def test_strict_refuses_a_field_in_place_of_a_concrete_method() -> None:
    class AbstractFoo(Module, strict=StrictConfig()):
        y: AbstractVar[int]

        def method(self):
            return self.y

    with pytest.raises(TypeError, match=r"Foo` overrides `method`, which is concrete"):

        class Foo(AbstractFoo, strict=StrictConfig()):
            y: int
            method: object


@pytest.mark.parametrize("kind", [AbstractVar, AbstractClassVar])
def test_abstract_annotation_needs_a_type(kind) -> None:
    with pytest.raises(TypeError, match=f"unsubscripted `{kind.__name__}`.*Foo.x"):

        class Foo(Module):
            x: kind


def test_abstract_class_attribute_with_a_value_is_named_so() -> None:
    with pytest.raises(TypeError, match="Abstract class attribute x cannot have value"):

        class Foo(Module):
            x: AbstractClassVar[int] = 3


@pytest.mark.parametrize("own_init", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_warnings_point_at_the_call(own_init: bool, nested: bool) -> None:
    class Generated(Module):
        fn: object
        s: object = field(static=True, default=None)

    class Own(Module):
        fn: object
        s: object = field(static=True)

        def __init__(self, fn, s=None):
            self.fn, self.s = fn, s

    class Leaf(Module):
        def __call__(self, x):
            return x

    cls = Own if own_init else Generated
    hiding = jax.vmap(Leaf())
    with pytest.warns(UserWarning, match="JAX-transformed callable") as first:
        cls([{"a": hiding}] if nested else hiding)
    with pytest.warns(UserWarning, match="NumPy array") as second:
        cls(1, [np.ones(2)] if nested else np.ones(2))
    assert [w.filename for w in (*first, *second)] == [__file__] * 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("new", None, r"(?s)no such field.*new: Any"),
        ("method", 1, r"`.*Foo.method` is an attribute of the class"),
        ("constant", 2, r"`.*Foo.constant` is an attribute of the class"),
    ],
)
def test_assigning_what_is_no_field_in_init(name: str, value: object, message: str) -> None:
    class Foo(Module):
        constant: ClassVar[int] = 1

        def __init__(self):
            setattr(self, name, value)

        def method(self):
            return 1

    with pytest.raises(dataclasses.FrozenInstanceError, match=message):
        Foo()
