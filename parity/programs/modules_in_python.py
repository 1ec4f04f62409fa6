"""Modules and the rest of Python: base classes, constructors, decorators, names."""

import dataclasses
import inspect
import typing
from typing import Any

import jax
import jax.numpy as jnp
from registry import program

from programs.modules_in_jax import scale


@program("Module")
def super_init_with_keywords(eqx):
    class A(eqx.Module):
        a: int
        b: int = 2

    class B(A):
        c: int

        def __init__(self, c, **kwargs):
            super().__init__(**kwargs)
            self.c = c

    return B(1, a=5), B(1, a=5, b=6)


@program("Module")
def init_calls_dataclass_init_of_base(eqx):
    class A(eqx.Module):
        a: int

        def __post_init__(self):
            self.a = self.a * 10

    class B(A):
        b: int

        def __init__(self):
            super().__init__(2)
            self.b = self.a + 1

    return B()


@program("Module")
def mutation_of_a_leaf_list(eqx):
    class A(eqx.Module):
        a: list

    m = A([1, 2])
    m.a.append(3)
    return jax.tree.leaves(m)


@program("Module")
def subclass_hooks_of_abc(eqx):
    class A(eqx.Module):
        pass

    class Foreign:
        pass

    A.register(Foreign)
    return isinstance(Foreign(), A), issubclass(Foreign, A)


@program("Module")
def class_getitem(eqx):
    class A(eqx.Module):
        def __class_getitem__(cls, item):
            return (cls.__name__, item)

    return A[int]


@program("Module")
def own_new(eqx):
    class A(eqx.Module):
        a: int

        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

    return A(3)


@program("Module")
def singleton_by_new(eqx):
    class A(eqx.Module):
        def __new__(cls):
            return 5

    return A()


@program("Module")
def enum_and_namedtuple_fields(eqx):
    class Point(typing.NamedTuple):
        x: int
        y: int

    class A(eqx.Module):
        p: Any

    return jax.tree.leaves(A(Point(1, 2))), repr(A(Point(1, 2)))


@program("Module")
def abstract_method_and_property(eqx):
    import abc

    class A(eqx.Module):
        @property
        @abc.abstractmethod
        def size(self): ...

        @classmethod
        @abc.abstractmethod
        def make(cls): ...

    class B(A):
        @property
        def size(self):
            return 3

        @classmethod
        def make(cls):
            return cls()

    return B.make().size, A()


@program("Module")
def initvar_default(eqx):
    class A(eqx.Module):
        n: dataclasses.InitVar[int]
        x: Any = eqx.field(init=False)

        def __post_init__(self, n):
            self.x = jnp.zeros(n)

    return A(3)


@program("Module")
def both_inits_warning(eqx):
    class A(eqx.Module):
        x: int

        def __init__(self):
            self.x = 1

        def __post_init__(self):
            pass

    return A()


@program("Module")
def inherited_post_init_with_own_init(eqx):
    class A(eqx.Module):
        x: int

        def __post_init__(self):
            pass

    class B(A):
        def __init__(self):
            self.x = 1

    class C(B):
        pass

    return C()


@program("Module")
def dataclass_fields_of_instance(eqx):
    m = scale(eqx)(1.0)
    return [f.name for f in dataclasses.fields(m)], m.__dataclass_params__.frozen


@program("Module")
def filter_transformations_as_methods(eqx):
    class A(eqx.Module):
        w: Any

        @eqx.filter_jit
        def jitted(self, x):
            return self.w * x

        @eqx.filter_grad
        def gradient(self, x):
            return self.w * x

        @eqx.filter_vmap(in_axes=(None, 0))
        def mapped(self, x):
            return self.w + x

        @eqx.filter_value_and_grad
        def both(self, x):
            return self.w**2 * x

    a = A(jnp.array(3.0))
    return a.jitted(2.0), a.gradient(2.0), a.mapped(jnp.arange(2.0)), a.both(2.0)


@program("Module")
def transformed_static_and_class_methods(eqx):
    class A(eqx.Module):
        @staticmethod
        @eqx.filter_jit
        def f(x):
            return x + 1

        @classmethod
        @eqx.filter_jit
        def g(cls, x):
            return (cls.__name__, x)

        @eqx.filter_jit
        @staticmethod
        def h(x):
            return x + 2

    return A.f(jnp.array(1)), A().f(jnp.array(1)), A.g(jnp.array(1)), A().h(jnp.array(1))


@program("Module")
def transformed_property(eqx):
    class A(eqx.Module):
        w: Any

        @property
        @eqx.filter_jit
        def double(self):
            return 2 * self.w

    return A(jnp.array(2.0)).double


@program("filter_jit")
def bound_jitted_method(eqx):
    class A(eqx.Module):
        w: Any

        @eqx.filter_jit
        def f(self, x):
            return self.w * x

    m = A(jnp.array(2.0)).f
    return m(3.0), jax.tree.leaves(m), m.__self__.w, m.__name__, str(inspect.signature(m))


@program("filter_grad")
def bound_grad_of_method(eqx):
    class A(eqx.Module):
        w: Any

        def loss(self, x):
            return (self.w * x) ** 2

    a = A(jnp.array(2.0))
    return eqx.filter_grad(A.loss)(a, 3.0), eqx.filter_value_and_grad(lambda m: m.loss(3.0))(a)


@program("module_update_wrapper")
def update_wrapper_as_a_decorator_class(eqx):
    class Deco(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

        def __call__(self, *args, **kwargs):
            return self.fn(*args, **kwargs)

        def __get__(self, instance, owner):
            return self if instance is None else eqx.Partial(self, instance)

    def deco(fn):
        return eqx.module_update_wrapper(Deco(fn))

    class A(eqx.Module):
        a: int

        @deco
        def f(self, x):
            "doc"
            return self.a + x

    return A(1).f(2), A.f.__doc__, A.f.__name__


@program("Module")
def field_named_like_a_dataclass_parameter(eqx):
    class A(eqx.Module):
        self_: int
        cls: int
        init: int = 3

    return A(1, 2), A(self_=1, cls=2)


@program("Module")
def field_with_underscore(eqx):
    class A(eqx.Module):
        _x: int
        __y: int = 2

    return A(1), str(inspect.signature(A)), jax.tree.leaves(A(1))


@program("Module")
def many_fields(eqx):
    A = type(eqx.Module)(
        "A", (eqx.Module,), {"__annotations__": {f"f{i}": int for i in range(100)}}
    )
    return jax.tree.leaves(A(*range(100)))


@program("Module")
def identical_names_differ(eqx):
    def make():
        class A(eqx.Module):
            x: int

        return A

    one, other = make(), make()
    return one(1) == other(1), jax.tree.structure(one(1)) == jax.tree.structure(other(1))


@program("tree_at", "Module")
def surgery_does_not_call_init(eqx):
    calls = []

    class A(eqx.Module):
        x: Any = eqx.field(converter=lambda x: (calls.append(x), x)[1])

        def __check_init__(self):
            calls.append("check")

    new = eqx.tree_at(lambda m: m.x, A(1), "anything")
    return new, calls
