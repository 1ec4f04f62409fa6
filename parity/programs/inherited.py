"""What a class has from elsewhere: methods of plain classes, types in brackets, attributes."""

import abc
import functools
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from registry import program

T = TypeVar("T")


def of_mixin(eqx):
    class Above:
        def above(self):
            return 2 * self.x

    class Mixin(Above):
        def plain(self):
            return 3 * self.x

        jitted = jax.jit(lambda self: 4 * self.x)
        cached = functools.lru_cache(lambda self: 5)
        partial = functools.partialmethod(lambda self, by: by * self.x, 6)

        @property
        def method(self):
            return self.plain

        @classmethod
        def of_class(cls):
            return 7

    class A(eqx.Module, Mixin):
        x: Any
        own = jax.jit(lambda self: 8 * self.x)

    Mixin.later = lambda self: 9 * self.x
    return A(jnp.arange(2.0)), A


@program("Module", "filter_grad")
def methods_of_a_mixin_are_differentiated(eqx):
    a, _ = of_mixin(eqx)
    names = ["above", "plain", "jitted", "method", "own", "later"]
    grad = eqx.filter_grad(lambda f: jnp.sum(f()))
    return [grad(getattr(a, name)).__self__.x for name in names]


@program("Module")
def methods_of_a_mixin_are_jitted(eqx):
    a, _ = of_mixin(eqx)
    call = jax.jit(lambda f: f())
    return [call(getattr(a, name)) for name in ("above", "plain", "own", "later")]


@program("Module")
def which_methods_are_trees(eqx):
    a, _ = of_mixin(eqx)
    names = ["above", "plain", "jitted", "cached", "partial", "method", "of_class", "own", "later"]
    return {name: len(jax.tree.leaves(getattr(a, name))) for name in names}, {
        name: any(x is a.x for x in jax.tree.leaves(getattr(a, name))) for name in names
    }


@program("Module")
def mixin_method_as_an_own_field(eqx):
    class Mixin:
        def plain(self):
            return 1

    class A(eqx.Module, Mixin):
        f: Any

        def __init__(self):
            self.f = self.plain

    return A()


@program("nn.SpectralNorm", "nn.WeightNorm", "nn.StateIndex", "internal.Static")
def layers_in_brackets(eqx):
    class A(eqx.Module):
        spectral: eqx.nn.SpectralNorm[eqx.nn.Linear]
        weight: eqx.nn.WeightNorm[eqx.nn.Linear]
        index: eqx.nn.StateIndex[int]
        static: eqx.internal.Static[str]

    return [str(annotation) for annotation in A.__annotations__.values()]


@program("internal.AbstractProgressMeter", "internal.NoProgressMeter")
def meter_in_brackets(eqx):
    class Meter(eqx.internal.AbstractProgressMeter[int]):
        def init(self):
            return 0

        def step(self, state, progress):
            return state + 1

        def close(self, state): ...

    return Meter().step(Meter().init(), 0.5), eqx.internal.NoProgressMeter[int]


@program("Module")
def orig_class(eqx):
    class A(eqx.Module, Generic[T]):
        x: T

    a = A[int](1)
    mapped = jax.tree.map(lambda x: x, a)
    return a.__orig_class__ == A[int], [hasattr(b, "__orig_class__") for b in (A(1), mapped)]


@program("Module", "field")
def class_attribute_in_the_place_of_a_static_field(eqx):
    class A(eqx.Module):
        name: str = eqx.field(static=True)
        x: Any

        def __init__(self, x):
            self.x = x

    class B(A):
        name = "b"

    b = B(jnp.arange(2.0))
    return (
        b,
        b.name,
        repr(b),
        jax.tree.leaves(b),
        jax.jit(lambda m: 2 * m.x)(b),
        jax.tree.map(jnp.sin, b).name,
    )


@program("Module")
def class_attribute_in_the_place_of_an_abstract_property(eqx):
    class A(eqx.Module):
        @property
        @abc.abstractmethod
        def name(self): ...

    class B(A):
        name = "b"

    return B(), B().name, jax.tree.leaves(B()), jax.jit(lambda m: 1)(B())


@program("Module", "AbstractVar", "AbstractClassVar")
def what_is_open(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]
        y: eqx.AbstractClassVar[str]

    class B(A):
        y = "y"

    return [(c.__abstractvars__, c.__abstractclassvars__) for c in (eqx.Module, A, B)]


@program("Module")
def docstring_of_a_generated_init(eqx):
    class A(eqx.Module):
        x: int

    A.__init__.__doc__ = "Of A."

    class B(A):
        y: int

    return B.__init__.__doc__, eqx.Module.__init__.__doc__
