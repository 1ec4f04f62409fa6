"""What stands in the body of a class: properties, mixins, dunder methods."""

import abc
import dataclasses
import functools
import inspect
from typing import Any, ClassVar, Generic, TypeVar

import jax
import jax.numpy as jnp
from registry import program


@program("Module", "field")
def default_factory(eqx):
    class A(eqx.Module):
        a: list = eqx.field(default_factory=list)

    return A(), A().a is A().a


@program("Module")
def unannotated_attribute_is_no_field(eqx):
    class A(eqx.Module):
        a: int
        b = 3

    return A(1), A(1).b


@program("Module")
def classvar(eqx):
    class A(eqx.Module):
        a: int
        count: ClassVar[int] = 3

    return A(1), A.count, A(1).count


@program("Module")
def generic(eqx):
    T = TypeVar("T")

    class A(eqx.Module, Generic[T]):
        a: T

    class B(A[int]):
        b: int

    return A[int](3), B(1, 2), A[int](3).a


@program("Module")
def protocol_like_abc(eqx):
    class Base(eqx.Module):
        @abc.abstractmethod
        def __call__(self, x): ...

    class Child(Base):
        def __call__(self, x):
            return x + 1

    return Child()(1), inspect.isabstract(Base), Base()


@program("Module")
def multiple_inheritance(eqx):
    class A(eqx.Module):
        a: int = 1

    class B(eqx.Module):
        b: int = 2

    class C(A, B):
        c: int = 3

    return C(), [f.name for f in dataclasses.fields(C)]


@program("Module")
def plain_mixin(eqx):
    class Mixin:
        def double(self):
            return 2 * self.a

    class A(Mixin, eqx.Module):
        a: int

    return A(2).double(), A(2)


@program("Module")
def mixin_with_annotations(eqx):
    class Mixin:
        x: int

    class A(Mixin, eqx.Module):
        a: int

    return [f.name for f in dataclasses.fields(A)]


@program("Module")
def property_(eqx):
    class A(eqx.Module):
        a: int

        @property
        def double(self):
            return 2 * self.a

    return A(2).double, jax.tree.leaves(A(2))


@program("Module")
def property_is_read_only(eqx):
    class A(eqx.Module):
        a: int

        @property
        def double(self):
            return 2 * self.a

        def __init__(self):
            self.double = 3

    return A()


@program("Module")
def property_that_raises(eqx):
    class A(eqx.Module):
        a: int

        @property
        def bad(self):
            raise AttributeError("inner")

    return hasattr(A(1), "bad")


@program("Module")
def cached_property(eqx):
    class A(eqx.Module):
        a: int

        @functools.cached_property
        def double(self):
            return 2 * self.a

    return A(2).double


@program("Module")
def classmethod_and_staticmethod(eqx):
    class A(eqx.Module):
        a: int

        @classmethod
        def make(cls, x):
            return cls(x)

        @staticmethod
        def helper(x):
            return x + 1

    return A.make(3), A(1).make(4), A.helper(1), A(1).helper(2)


@program("Module")
def getattr_(eqx):
    class A(eqx.Module):
        a: dict

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            return self.a[name]

    return A({"x": 5}).x, jax.tree.leaves(A({"x": 5}))


@program("Module")
def own_setattr(eqx):
    class A(eqx.Module):
        a: int

        def __setattr__(self, name, value):
            raise RuntimeError("own")

    return A(1)


@program("Module")
def own_eq_and_hash(eqx):
    class A(eqx.Module):
        a: Any

        def __eq__(self, other):
            return "equal"

        def __hash__(self):
            return 3

    return A(1) == 2, hash(A(jnp.ones(2)))


@program("Module")
def own_repr(eqx):
    class A(eqx.Module):
        a: Any

        def __repr__(self):
            return "mine"

    class B(eqx.Module):
        x: Any

    return repr(A(1)), repr(B(A(1))), str(A(1))


@program("Module")
def own_operators(eqx):
    class V(eqx.Module):
        a: Any

        def __add__(self, other):
            return V(self.a + other.a)

        def __getitem__(self, i):
            return self.a[i]

        def __len__(self):
            return len(self.a)

        def __iter__(self):
            return iter(self.a)

        def __contains__(self, x):
            return x in self.a

        def __bool__(self):
            return False

    v = V((1, 2))
    return (v + v).a, v[0], len(v), list(v), 2 in v, bool(v)
