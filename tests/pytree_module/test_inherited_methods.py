"""Whatever way a class gets a function: read from an instance, it is a PyTree.

The table is what Equinox 0.13.8 gives for each way, as it was seen when run.
"""

import abc
import functools
import pickle
import types
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytree_module import BoundMethod, Module, Static
from tree_surgery import tree_equal

T = TypeVar("T")


def triple(self: Any) -> jax.Array:
    return 3 * self.x


def decorate(f: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(f)(lambda *args: f(*args))


class Bound:
    """A descriptor that gives Python's own bound methods, as those of compiled languages do."""

    def __init__(self, f: Callable[..., Any]):
        self.f = f

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.f if instance is None else types.MethodType(self.f, instance)


class Callable_:
    def __call__(self) -> int:
        return 3


class Grand:
    def of_grand(self) -> jax.Array:
        return 3 * self.x


class Mixin(Grand):
    """A plain class."""

    def plain(self) -> jax.Array:
        return 3 * self.x

    def _private(self) -> jax.Array:
        return 3 * self.x

    def __call__(self) -> jax.Array:
        return 3 * self.x

    def __enter__(self) -> jax.Array:
        return 3 * self.x

    def overridden(self) -> jax.Array:
        return 0 * self.x

    def replaced(self) -> jax.Array:
        return 0 * self.x

    @property
    def property(self) -> Callable[[], jax.Array]:
        return self.plain

    @functools.cached_property
    def cached(self) -> Callable[[], jax.Array]:
        return self.plain

    decorated = decorate(triple)
    jitted = jax.jit(triple)
    remembered = functools.lru_cache(triple)
    descriptor = Bound(triple)
    lambda_ = lambda self: 3 * self.x  # noqa: E731  (a way as any other)
    partial_method = functools.partialmethod(lambda self, by: by * self.x, 3)

    @functools.singledispatchmethod
    def dispatched(self, by: int = 3) -> jax.Array:
        return by * self.x

    @classmethod
    def of_class(cls) -> int:
        return 3

    @staticmethod
    def of_static() -> int:
        return 3


class Hooked:
    def __init_subclass__(cls) -> None:
        cls.by_hook = lambda self: 3 * self.x
        Hooked.by_hook_above = lambda self: 3 * self.x


class Root(abc.ABC):
    @abc.abstractmethod
    def open(self) -> jax.Array: ...

    def closed(self) -> jax.Array:
        return 3 * self.x


class Parametric(Generic[T]):
    def of_generic(self) -> jax.Array:
        return 3 * self.x


def add_method(cls: Any) -> Any:
    cls.by_decorator = lambda self: 3 * self.x
    return cls


@add_method
class Model(Module, Mixin, Hooked, Root, Parametric[int]):
    x: jax.Array

    def open(self) -> jax.Array:
        return 3 * self.x

    def overridden(self) -> jax.Array:
        return 3 * self.x

    borrowed = Mixin.plain
    own_jitted = jax.jit(triple)
    own_remembered = functools.lru_cache(triple)
    own_descriptor = Bound(triple)
    own_partial_method = functools.partialmethod(lambda self, by: by * self.x, 3)
    callable_ = Callable_()
    builtin = len


class Child(Model):
    pass


class First(Mixin, Module):
    x: jax.Array


Model.set_later = triple
Mixin.set_on_mixin_later = triple
Mixin.replaced = triple


def model(cls: Any = Model) -> Any:
    return cls(jnp.arange(2.0))


OF_MIXIN = [
    "plain", "_private", "__call__", "of_grand", "property", "cached", "decorated", "jitted",
    "remembered", "descriptor", "lambda_", "set_on_mixin_later", "replaced",
]  # fmt: skip
TREES = [
    *OF_MIXIN, "overridden", "open", "closed", "by_hook", "by_hook_above", "of_generic",
    "by_decorator", "borrowed", "own_jitted", "own_remembered", "own_descriptor", "set_later",
]  # fmt: skip
NO_TREES = {
    "__enter__": types.MethodType,
    "of_class": types.MethodType,
    "of_static": types.FunctionType,
    "partial_method": functools.partial,
    "own_partial_method": functools.partial,
    "dispatched": types.FunctionType,
    "callable_": Callable_,
    "builtin": types.BuiltinFunctionType,
}


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, name) for cls in (Model, Child) for name in TREES] + [(First, n) for n in OF_MIXIN],
)
def test_the_instance_is_the_child(cls: Any, name: str) -> None:
    method = getattr(model(cls), name)
    assert type(method) is BoundMethod
    assert type(method.__self__) is cls
    assert np.array_equal(jax.tree.leaves(method)[0], [0.0, 1.0])
    if "remembered" in name:
        return  # `functools.lru_cache` wants a hash, and an instance with arrays has none.
    call = jax.jit(lambda f: f())
    assert np.array_equal(call(method), [0.0, 3.0])
    assert np.array_equal(call(jax.tree.map(lambda x: 2 * x, method)), [0.0, 6.0])
    grad = jax.grad(lambda f: f().sum())(method)
    assert np.array_equal(grad.__self__.x, [3.0, 3.0])


@pytest.mark.parametrize("name", NO_TREES)
def test_what_equinox_leaves_alone_is_left_alone(name: str) -> None:
    assert isinstance(getattr(model(), name), NO_TREES[name])
    assert not isinstance(getattr(model(), name), BoundMethod)


@pytest.mark.parametrize("name", ["plain", "jitted", "remembered", "descriptor", "lambda_"])
def test_read_from_the_class_it_is_what_was_put_there(name: str) -> None:
    class Own(Module):
        pass

    put = vars(Mixin)[name]
    setattr(Own, name, put)
    found = triple if name == "descriptor" else put
    assert getattr(Own, name) is found and getattr(Model, name) is found


def test_equal_methods_are_one_key_and_one_trace() -> None:
    assert model().plain == model().plain and hash(model().plain) == hash(model().plain)
    assert model().plain != model(Child).plain
    traces = 0

    @jax.jit
    def call(f: Any) -> jax.Array:
        nonlocal traces
        traces += 1
        return f()

    for scale in (1.0, 2.0, 3.0):
        assert np.array_equal(call(Model(scale * jnp.arange(2.0)).plain), [0.0, 3.0 * scale])
    assert traces == 1


def test_a_method_of_a_mixin_pickles() -> None:
    method = pickle.loads(pickle.dumps(model().plain))
    assert tree_equal(method, model().plain) and np.array_equal(method(), [0.0, 3.0])


class AnySelf(Module, Mixin):
    f: Any


@pytest.mark.parametrize(
    "value",
    [Callable_().__call__, types.MethodType(triple, model()), len],
    ids=["of an object", "of another instance", "a builtin"],  # the same in each worker
)
def test_methods_bound_to_something_else_are_values(value: Any) -> None:
    assert AnySelf(value).f is value


def test_a_mixins_method_of_the_instance_under_construction_is_a_cycle() -> None:
    class Cyclic(Module, Mixin):
        f: Any

        def __init__(self) -> None:
            self.f = self.plain

    with pytest.raises(ValueError, match="Cannot assign methods in __init__"):
        Cyclic()


class Answers:
    def __getattribute__(self, name: str) -> Any:
        return 42 if name == "answer" else super().__getattribute__(name)


@pytest.mark.parametrize("order", ["mixin first", "module first", "own", "below"])
def test_an_own_getattribute_is_kept(order: str) -> None:
    bases = {"mixin first": (Answers, Mixin, Module), "module first": (Module, Answers, Mixin)}

    def answer(self: Any, name: str) -> Any:
        return 42 if name == "answer" else object.__getattribute__(self, name)

    made: Any = types.new_class(
        "Made",
        bases.get(order, (Model,) if order == "below" else (Module, Mixin)),
        exec_body=lambda body: body.update(
            {"__annotations__": {"x": jax.Array}}
            | ({} if order in bases else {"__getattribute__": answer})
        ),
    )
    assert model(made).answer == 42
    assert type(model(made).plain) is BoundMethod


def test_python_finds_what_it_would_find_without_us() -> None:
    # The order of the classes decides, also where a mixin overrides what another defines.
    class Other(Mixin):
        def plain(self) -> str:  # type: ignore[override]
            return "other"

    class Module1(Module, Mixin):
        pass

    class Both(Module1, Other):
        def overridden(self) -> Any:
            return super().overridden()

    assert Both().plain() == "other"
    with pytest.raises(AttributeError, match="'x'"):
        Both().overridden()
    Other.plain = lambda self: "changed"
    assert Both().plain() == "changed"
    del Other.plain
    assert Both().plain.__func__ is Mixin.plain
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = Both().nothing


def test_classes_without_a_plain_base_read_attributes_as_python_does() -> None:
    class Alone(Module, Generic[T]):
        x: T

    class Abstract(Module, abc.ABC):
        pass

    for cls in (Module, Alone, Abstract, Static):
        assert cls.__getattribute__ is object.__getattribute__
