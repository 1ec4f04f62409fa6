"""A warning of a module points at the line of the user's that makes it, whatever lies between."""

import copy
import dataclasses
import functools
import inspect
import pathlib
import re
import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import jax
import numpy as np
import pytest

from pytree_module import Module, extend, field

LINES = pathlib.Path(__file__).read_text().splitlines()


def line_of(mark: str) -> int:
    (line,) = (i + 1 for i, text in enumerate(LINES) if text.endswith(f"# the line: {mark}"))
    return line


class Scale(Module):
    factor: Any = 1.0

    def __call__(self, x: Any) -> Any:
        return self.factor * x


class Holder(Module):
    static: Any = field(static=True, default=1)
    dynamic: Any = 1


class Subclass(Holder):
    pass


class OwnInit(Holder):
    def __init__(self, **kwargs: Any):
        for name, value in kwargs.items():
            setattr(self, name, value)


class Outer(Module):
    inner: Holder

    def __init__(self, **kwargs: Any):
        self.inner = Holder(**kwargs)  # the line: Outer


class Deep(Module):
    inner: Any = field(default_factory=functools.partial(Holder, static=[1]))


MISTAKES = {
    "NumPy array": {"static": np.ones(2)},
    "It has no hash": {"static": [1]},
    "JAX-transformed": {"dynamic": jax.jit(Scale())},
}
WAYS: dict[str, Callable[..., Any]] = {
    "directly": lambda make, **kw: make(**kw),  # the line: directly
    "partial": lambda make, **kw: functools.partial(make, **kw)(),  # the line: partial
    "jit": lambda make, **kw: jax.jit(lambda: make(**kw) and None)(),  # the line: jit
    "replace": lambda make, **kw: dataclasses.replace(make(), **kw),  # the line: replace
}


def told(message: str, run: Callable[[], Any]) -> tuple[str, int]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    (warning,) = caught
    assert message in str(warning.message)
    return warning.filename, warning.lineno


@pytest.mark.parametrize("cls", [Holder, Subclass, OwnInit])
@pytest.mark.parametrize("message", MISTAKES)
@pytest.mark.parametrize("way", WAYS)
def test_points_at_who_makes_the_instance(cls, message, way) -> None:
    where = told(message, lambda: WAYS[way](cls, **MISTAKES[message]))
    assert where == (__file__, line_of(way))


@pytest.mark.parametrize("message", MISTAKES)
def test_points_into_the_init_of_the_users(message) -> None:
    assert told(message, lambda: Outer(**MISTAKES[message])) == (__file__, line_of("Outer"))


def test_does_not_point_into_a_generated_init() -> None:
    where = told("It has no hash", lambda: Deep())  # the line: generated
    assert where == (__file__, line_of("generated"))


def test_points_at_a_class_with_two_inits_under_another_metaclass() -> None:
    class Meta(type(Module)):
        def __new__(mcs, *args: Any, **kwargs: Any):
            return super().__new__(mcs, *args, **kwargs)  # the line: metaclass

    def define(**kwargs: Any) -> None:
        class Both(Module, **kwargs):  # the line: class
            def __init__(self) -> None: ...

            def __post_init__(self) -> None: ...

    message = "both an `__init__` method and a `__post_init__`"
    assert told(message, define) == (__file__, line_of("class"))
    # A metaclass of the user's is the user's.
    assert told(message, lambda: define(metaclass=Meta)) == (__file__, line_of("metaclass"))


def test_copying_does_not_warn() -> None:
    with pytest.warns(UserWarning):
        holder = Holder([1])
    assert copy.deepcopy(holder) == copy.copy(holder) == jax.tree.map(lambda x: x, holder)


def test_user_frames_begin_at_the_caller() -> None:
    def inner() -> list[str]:
        return list(map(attrgetter("f_code.co_name"), extend.user_frames()))

    assert inner()[:2] == ["inner", "test_user_frames_begin_at_the_caller"]
    seen: list[list[str]] = []
    jax.jit(lambda x: seen.append(inner()) or x)(1.0)
    assert seen[0][:3] == ["inner", "<lambda>", "test_user_frames_begin_at_the_caller"]


@pytest.mark.parametrize("name", extend.__all__)
def test_example(name: str) -> None:
    text = inspect.getdoc(getattr(extend, name))
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(block, {})
