"""How instances are made: `__init__`, `__post_init__`, `__check_init__`, defaults."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from registry import program


@program("Module")
def own_init(eqx):
    class M(eqx.Module):
        a: Any
        b: Any

        def __init__(self, n):
            self.b = n + 1
            self.a = n

    return M(3), str(inspect.signature(M))


@program("Module")
def own_init_leaves_a_field_unset(eqx):
    class M(eqx.Module):
        a: int
        b: int

        def __init__(self):
            self.a = 1

    return M()


@program("Module")
def own_init_sets_an_unknown(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1
            self.other = 2

    return M()


@program("Module")
def own_init_sets_twice(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1
            self.a = self.a + 1

    return M()


@program("Module")
def own_init_calls_methods(eqx):
    class M(eqx.Module):
        a: int

        def __init__(self):
            self.set(4)

        def set(self, value):
            self.a = value

    return M()


@program("Module")
def own_init_super(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

        def __init__(self, a, b):
            super().__init__(a)
            self.b = b

    return B(1, 2), jax.tree.leaves(B(1, 2))


@program("Module")
def inherited_init_with_new_field(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int = 3

    return B(1)


@program("Module")
def inherited_init_with_new_field_without_default(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

    return B(1)


@program("Module")
def dataclass_child_of_init_parent(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self, a):
            self.a = a

    class B(A):
        b: int

        def __init__(self, b):
            self.a = 0
            self.b = b

    return B(1)


@program("Module")
def fields_of_a_base_come_first(eqx):
    class A(eqx.Module):
        a: int
        z: int = 5

    class B(A):
        b: int = 6
        a: int

    return B(1), [f.name for f in dataclasses.fields(B)]


@program("Module")
def default_before_no_default(eqx):
    class A(eqx.Module):
        a: int = 1
        b: int

    return A


@program("Module")
def post_init(eqx):
    class A(eqx.Module):
        a: int
        b: int = eqx.field(init=False)

        def __post_init__(self):
            self.b = self.a + 1

    return A(1)


@program("Module")
def post_init_changes_a_field(eqx):
    class A(eqx.Module):
        a: Any

        def __post_init__(self):
            self.a = jnp.asarray(self.a)

    return A(1)


@program("Module")
def post_init_with_initvar(eqx):
    class A(eqx.Module):
        a: int
        extra: dataclasses.InitVar[int] = 3

        def __post_init__(self, extra):
            self.a = self.a + extra

    return A(1), A(1, 10), jax.tree.leaves(A(1))


@program("Module")
def init_false_never_set(eqx):
    class A(eqx.Module):
        a: int = eqx.field(init=False)

    return A()


@program("Module")
def init_and_post_init(eqx):
    class A(eqx.Module):
        a: int

        def __init__(self):
            self.a = 1

        def __post_init__(self):
            self.a = 2

    return A()


@program("Module")
def parent_post_init_child_init(eqx):
    class A(eqx.Module):
        a: int

        def __post_init__(self):
            self.a = 10

    class B(A):
        def __init__(self):
            self.a = 1

    return B()


@program("Module")
def check_init(eqx):
    class A(eqx.Module):
        a: int

        def __check_init__(self):
            if self.a < 0:
                raise ValueError("negative")

    A(1)
    return A(-1)


@program("Module")
def check_init_of_all_bases(eqx):
    order = []

    class A(eqx.Module):
        def __check_init__(self):
            order.append("A")

    class B(A):
        def __check_init__(self):
            order.append("B")

    class C(B):
        pass

    C()
    return order


@program("Module")
def check_init_may_not_assign(eqx):
    class A(eqx.Module):
        a: int

        def __check_init__(self):
            self.a = 2

    return A(1)


@program("Module")
def check_init_sees_defaults_and_converters(eqx):
    seen = []

    class A(eqx.Module):
        a: Any = eqx.field(converter=jnp.asarray)

        def __check_init__(self):
            seen.append(type(self.a).__name__)

    A(1)
    return seen


@program("Module")
def mutable_default(eqx):
    class A(eqx.Module):
        a: list = []  # noqa: RUF012

    return A()


@program("Module")
def array_default(eqx):
    class A(eqx.Module):
        a: Any = jnp.ones(2)

    return A()


@program("Module")
def numpy_default(eqx):
    class A(eqx.Module):
        a: Any = np.ones(2)

    return A()


@program("Module")
def module_default(eqx):
    class A(eqx.Module):
        a: Any = 1

    class B(eqx.Module):
        a: A = A()

    return B()
