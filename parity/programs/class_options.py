"""Options of a class statement, fields of all kinds, copies and pickles."""

import dataclasses
import inspect
import pickle
import typing
from typing import Any

import jax
import jax.numpy as jnp
from registry import program

from programs.modules import pair


@program("Module")
def call_with_keywords(eqx):
    class A(eqx.Module):
        a: int

        def __call__(self, x, *rest, y=2, **more):
            return self.a, x, rest, y, more

    return A(1)(2, 3, y=4, z=5), str(inspect.signature(A(1)))


@program("Module")
def not_callable(eqx):
    return pair(eqx)(1)()


@program("Module")
def kw_only_fields(eqx):
    class A(eqx.Module):
        a: int
        _: dataclasses.KW_ONLY
        b: int
        c: int = 3

    return A(1, b=2), str(inspect.signature(A)), A(1, 2)


@program("Module")
def kw_only_class(eqx):
    class A(eqx.Module, kw_only=True):
        a: int = 1
        b: int

    return A(b=2), A(1, 2)


@program("Module")
def frozen_argument(eqx):
    class A(eqx.Module, frozen=True):
        a: int

    return A(1)


@program("Module")
def init_argument(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a + 1

    class B(A, init=False):
        pass

    return B(1)


@program("Module")
def frozen_false_argument(eqx):
    class A(eqx.Module, frozen=False):
        a: int

    m = A(1)
    m.a = 2
    return m


@program("Module")
def class_argument_eq(eqx):
    class A(eqx.Module, eq=False):
        a: int

    return A(1) == A(1)


@program("Module")
def class_argument_repr(eqx):
    class A(eqx.Module, repr=False):
        a: int

    return repr(A(1)) == object.__repr__(A(1)), repr(A(1))


@program("Module")
def class_argument_init(eqx):
    class A(eqx.Module, init=False):
        a: int

    return A(1)


@program("Module")
def class_argument_order(eqx):
    class A(eqx.Module, order=True):
        a: int

    return A(1) < A(2)


@program("Module")
def class_argument_slots(eqx):
    class A(eqx.Module, slots=True):
        a: int

    return A(1)


@program("Module")
def class_argument_unknown(eqx):
    class A(eqx.Module, nonsense=True):
        a: int

    return A(1)


@program("Module")
def init_subclass(eqx):
    seen = []

    class A(eqx.Module):
        def __init_subclass__(cls, tag=None, **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append((cls.__name__, tag))

    class B(A, tag="t"):
        b: int

    return seen, B(1)


@program("Module")
def dataclass_decorator_on_top(eqx):
    @dataclasses.dataclass(frozen=True)
    class A(eqx.Module):
        a: int

    return A(1), jax.tree.leaves(A(1))


@program("Module")
def nested_class(eqx):
    class A(eqx.Module):
        class Inner(eqx.Module):
            x: int

        i: Any

    return A(A.Inner(1))


@program("Module")
def a_method_as_a_field_in_init(eqx):
    class A(eqx.Module):
        f: Any

        def __init__(self):
            self.f = self.g

        def g(self):
            return 1

    return A()


@program("Module")
def a_function_field(eqx):
    class A(eqx.Module):
        f: Any

        def __call__(self, x):
            return self.f(x)

    return A(jnp.sin)(jnp.array(0.0)), A(abs), A(lambda x: x)


@program("Module")
def a_jitted_field_warns(eqx):
    class A(eqx.Module):
        f: Any

    model = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    return type(A(jax.jit(model))).__name__


@program("Module")
def a_vmapped_field_warns(eqx):
    class A(eqx.Module):
        f: Any

    model = eqx.nn.Linear(2, 2, key=jax.random.key(0))
    return type(A(jax.vmap(model))).__name__


@program("Module")
def a_jitted_function_field_does_not(eqx):
    class A(eqx.Module):
        f: Any

    return type(A(jax.jit(jnp.sin))).__name__


@program("Module")
def recursive_annotation(eqx):
    class Node(eqx.Module):
        value: int
        next: "Node | None" = None

    return Node(1, Node(2)), jax.tree.leaves(Node(1, Node(2)))


@program("Module")
def type_hints(eqx):
    class A(eqx.Module):
        a: "int"
        b: "str" = "x"

    return typing.get_type_hints(A)


@program("Module")
def pickling(eqx):
    global Pickled

    class Pickled(eqx.Module):
        a: Any
        s: str = eqx.field(static=True)

        def f(self):
            return self.s

    Pickled.__qualname__ = "Pickled"
    back = pickle.loads(pickle.dumps(Pickled(jnp.ones(2), "x")))
    method = pickle.loads(pickle.dumps(Pickled(jnp.ones(2), "y").f))
    return back, method(), pickle.loads(pickle.dumps(Pickled)) is Pickled


@program("Module")
def copied_after_setting_dict(eqx):
    P = pair(eqx)
    new = object.__new__(P)
    object.__setattr__(new, "a", 1)
    object.__setattr__(new, "b", 2)
    return new, jax.tree.leaves(new)


@program("Module")
def missing_attribute(eqx):
    return pair(eqx)(1).nothing


@program("Module")
def delete_attribute(eqx):
    m = pair(eqx)(1)
    del m.a
    return m


@program("Module")
def unflatten_does_not_call_init(eqx):
    calls = []

    class A(eqx.Module):
        a: int

        def __init__(self, a):
            calls.append("init")
            self.a = a

        def __check_init__(self):
            calls.append("check")

    jax.tree.map(lambda x: x, A(1))
    return calls


@program("Module")
def leaf_none(eqx):
    return jax.tree.map(lambda x: "leaf", pair(eqx)(None, 1), is_leaf=lambda x: x is None)


@program("Module")
def prefix_tree(eqx):
    P = pair(eqx)
    full = P({"x": 1, "y": 2}, (3, 4))
    return jax.tree.map(lambda p, sub: (p, sub), P("a", "b"), full)


@program("Module")
def string_field_is_a_leaf(eqx):
    return jax.tree.leaves(pair(eqx)("a", object)) == ["a", object]


@program("Module")
def deep_inheritance_override_default(eqx):
    class A(eqx.Module):
        x: int = 1
        y: int = 2

    class B(A):
        x: int = 10

    class C(B):
        y: Any = eqx.field(default=20, converter=float)

    return A(), B(), C(), C(1, 2)


@program("Module")
def field_removed_by_class_attribute(eqx):
    class A(eqx.Module):
        x: int = 1

    class B(A):
        x = 5

    return B(), B(7)


@program("Module")
def field_overridden_by_property(eqx):
    class A(eqx.Module):
        x: int

    class B(A):
        y: int

        @property
        def x(self):
            return 5

        def __init__(self, y):
            self.y = y

    return B(3).y
