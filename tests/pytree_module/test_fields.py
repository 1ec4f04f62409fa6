"""Fields: static ones, converters, defaults, and what `field` passes on to dataclasses."""

import dataclasses
import functools
import inspect
import typing
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from pytree_module import Module, field, static_field


def test_static_field_is_structure_and_dynamic_field_is_a_child() -> None:
    class Scale(Module):
        factor: float
        name: str = field(static=True)

    leaves, treedef = jax.tree_util.tree_flatten(Scale(2.0, "a"))
    assert leaves == [2.0]
    assert treedef == jax.tree_util.tree_structure(Scale(3.0, "a"))
    assert treedef != jax.tree_util.tree_structure(Scale(2.0, "b"))


def test_a_new_static_value_compiles_again_and_an_equal_one_does_not() -> None:
    class Scale(Module):
        factor: jax.Array
        power: int = field(static=True)

    traces = 0

    @jax.jit
    def apply(scale: Scale) -> jax.Array:
        nonlocal traces
        traces += 1
        return scale.factor**scale.power

    x = jnp.asarray(3.0)
    assert apply(Scale(x, 2)) == 9 and apply(Scale(x + 1.0, 2)) == 16
    assert traces == 1
    assert apply(Scale(x, 3)) == 27
    assert traces == 2


def test_field_passes_the_options_of_dataclasses_on() -> None:
    class Options(Module):
        a: int = field(default=1)
        b: list[int] = field(default_factory=lambda: [1, 2])
        c: int = field(init=False, default=5)
        d: int = field(repr=False, default=7)
        e: int = field(kw_only=True)

    made = Options(e=3)
    assert (made.a, made.b, made.c, made.d, made.e) == (1, [1, 2], 5, 7, 3)
    assert Options(e=3).b is not made.b
    assert list(inspect.signature(Options).parameters) == ["a", "b", "d", "e"]
    assert "d=" not in repr(Options(d=1, e=3))


def test_initvar_reaches_post_init_and_is_no_field() -> None:
    class Scaled(Module):
        value: int
        by: dataclasses.InitVar[int] = 3

        def __post_init__(self, by: int) -> None:
            self.value = self.value * by

    assert Scaled(2).value == 6
    assert jax.tree_util.tree_leaves(Scaled(2, by=5)) == [10]


@pytest.mark.parametrize("option", [{"static": True}, {"converter": int}])
def test_metadata_with_the_same_key_twice_is_refused(option: dict) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"Cannot use metadata with `{name}` already set"):
        field(**option, metadata={name: 1})


def test_static_field_warns_and_is_static() -> None:
    with pytest.warns(UserWarning, match="deprecated in favour of"):
        old = static_field(default=3)
    assert old.metadata["static"] is True and old.default == 3


# Converters: once each, after `__init__` (and `__post_init__`), before `__check_init__`.


def test_order_with_a_generated_init() -> None:
    log: list[tuple[str, object]] = []

    def convert(x: float) -> float:
        log.append(("convert", x))
        return x + 0.5

    class Ordered(Module):
        x: float = field(converter=convert)

        def __post_init__(self) -> None:
            log.append(("post_init", self.x))
            self.x = self.x * 10

        def __check_init__(self) -> None:
            log.append(("check_init", self.x))

    Ordered(1.0)
    assert log == [("post_init", 1.0), ("convert", 10.0), ("check_init", 10.5)]


def test_order_with_an_own_init() -> None:
    log: list[tuple[str, object]] = []

    def convert(x: float) -> float:
        log.append(("convert", x))
        return x + 0.5

    class Ordered(Module):
        x: float = field(converter=convert)

        def __init__(self, x: float):
            self.x = x
            log.append(("init", self.x))

        def __check_init__(self) -> None:
            log.append(("check_init", self.x))

    Ordered(1.0)
    assert log == [("init", 1.0), ("convert", 1.0), ("check_init", 1.5)]


def test_converter_runs_once_when_a_subclass_calls_the_generated_init() -> None:
    calls = []

    class Base(Module):
        x: int = field(converter=lambda x: (calls.append(x), x + 1)[1])

    class Derived(Base):
        y: int

        def __init__(self) -> None:
            super().__init__(1)
            self.y = self.x  # not converted yet

    derived = Derived()
    assert (derived.x, derived.y, calls) == (2, 1, [1])


@pytest.mark.parametrize("own_init", [False, True])
def test_converter_runs_on_defaults(own_init: bool) -> None:
    class Base(Module):
        x: jax.Array = field(converter=jnp.asarray, default=1.0)

    class Own(Base):
        def __init__(self) -> None:
            pass

    made = Own() if own_init else Base()
    assert isinstance(made.x, jax.Array) and made.x == 1.0


def test_error_in_a_converter_reaches_the_caller() -> None:
    class Whole(Module):
        x: int = field(converter=int)

    with pytest.raises(ValueError, match="invalid literal"):
        Whole("three")


# Defaults.


def test_mutable_default_names_class_and_field() -> None:
    with pytest.raises(ValueError, match=r"(?s)for field a .*In `.*Wrong`: write `field\(default_"):

        class Wrong(Module):
            a: list = []  # noqa: RUF012 (the mistake under test)


def test_array_default_is_refused() -> None:
    with pytest.raises(ValueError, match="mutable default"):

        class Wrong(Module):
            a: jax.Array = jnp.ones(2)


def test_functions_as_defaults_are_values_and_no_methods() -> None:
    def double(x: int) -> int:
        return 2 * x

    class Applied(Module):
        fn: object = double
        also: object = field(default=double)

    assert Applied().fn is double and Applied().also is double
    assert Applied().fn(2) == 4


def test_dataclasses_sees_the_fields() -> None:
    class Pair(Module):
        a: int
        b: int = field(static=True, default=2)

    assert dataclasses.is_dataclass(Pair)
    assert [f.name for f in dataclasses.fields(Pair)] == ["a", "b"]
    assert Pair.__match_args__ == ("a", "b")
    match Pair(1):
        case Pair(a, b):
            assert (a, b) == (1, 2)
    assert dataclasses.asdict(Pair(1)) == {"a": 1, "b": 2}


class _FromBytes:
    def __init__(self, text: bytes):
        self.text = text


def _parse(text: "str | bytes") -> float:
    return float(text)


@pytest.mark.parametrize(
    ("converter", "expected"),
    [
        (_parse, str | bytes),
        (_FromBytes, bytes),
        (lambda x: x, Any),
        (float, Any),
        (jnp.asarray, Any),
        (functools.partial(jnp.asarray, dtype=jnp.float32), Any),
        (max, Any),
    ],
)
def test_constructor_takes_what_the_converter_takes(converter, expected) -> None:
    class Foo(Module):
        x: int = field(converter=converter)
        y: int

    class Bar(Foo):
        z: int = 3

    for cls in (Foo, Bar):
        parameters = inspect.signature(cls).parameters
        assert parameters["x"].annotation == expected
        assert parameters["y"].annotation is int
    assert Foo.__annotations__ == {"x": int, "y": int}


def test_overloads_are_found_where_functions_are_public() -> None:
    for function in (field, static_field):
        options = [set(inspect.signature(x).parameters) for x in typing.get_overloads(function)]
        assert [{"converter", "default"} <= names for names in options].count(True) == 2
