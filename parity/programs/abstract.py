"""Abstract attributes, and strict classes."""

import dataclasses
import inspect
from typing import ClassVar

import jax
from registry import program


@program("AbstractVar")
def abstract_var_unfilled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    return A()


@program("AbstractVar")
def abstract_var_by_field(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

        def double(self):
            return 2 * self.x

    class B(A):
        x: int

    return B(3).double(), B(3), str(inspect.signature(B))


@program("AbstractVar")
def abstract_var_by_property(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        @property
        def x(self):
            return 7

    return B().x, jax.tree.leaves(B())


@program("AbstractVar")
def abstract_var_by_unannotated_value(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        x = 3

    return B().x


@program("AbstractVar")
def abstract_var_with_a_value(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int] = 3

    return A()


@program("AbstractVar")
def abstract_var_still_abstract_below(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class B(A):
        y: int

    return B(1)


@program("AbstractVar")
def abstract_var_field_names(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]
        y: int

    return [f.name for f in dataclasses.fields(A)], inspect.isabstract(A)


@program("AbstractVar")
def abstract_var_filled_by_a_mixin(eqx):
    class A(eqx.Module):
        x: eqx.AbstractVar[int]

    class Filled(eqx.Module):
        x: int = 4

    class B(Filled, A):
        pass

    class C(A, Filled):
        pass

    return B(), C()


@program("AbstractVar")
def abstract_var_overrides_a_field(eqx):
    class A(eqx.Module):
        x: int

    class B(A):
        x: eqx.AbstractVar[int]

    return B(1)


@program("AbstractClassVar")
def abstract_classvar_unfilled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    return A()


@program("AbstractClassVar")
def abstract_classvar_filled(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x = 3

    class C(A):
        x: ClassVar[int] = 4

    return B().x, C().x, B.x, [f.name for f in dataclasses.fields(B)]


@program("AbstractClassVar")
def abstract_classvar_by_field_without_default(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x: int

    return B(3)


@program("AbstractClassVar")
def abstract_classvar_by_field_with_default(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

    class B(A):
        x: int = 3

    return B()


@program("AbstractClassVar")
def abstract_classvar_seen_by_init_subclass(eqx):
    class A(eqx.Module):
        x: eqx.AbstractClassVar[int]

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            getattr(cls, "x", None)

    class B(A):
        x = 1

    return B().x


@program("AbstractVar", "AbstractClassVar")
def abstract_annotations(eqx):
    def name(x):
        return getattr(x, "__name__", None) or type(x).__name__

    return name(eqx.AbstractVar), name(eqx.AbstractClassVar), eqx.AbstractVar()


@program("internal.AbstractVar", "internal.AbstractClassVar")
def abstract_the_same_internally(eqx):
    return (
        eqx.internal.AbstractVar is eqx.AbstractVar,
        eqx.internal.AbstractClassVar is eqx.AbstractClassVar,
    )


# Strict.


@program("Module")
def strict_true(eqx):
    class A(eqx.Module, strict=True):
        a: int

        def f(self):
            return 1

    class B(A, strict=True):
        def f(self):
            return 2

    return B(1).f()


@program("StrictConfig")
def strict_config_plain(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig()):
        a: int

    return A(1)


@program("StrictConfig")
def strict_config_overridden_method(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig()):
        a: int

        def f(self):
            return 1

    class B(A, strict=eqx.StrictConfig()):
        def f(self):
            return 2

    return B(1).f()


@program("StrictConfig")
def strict_config_force_abstract(eqx):
    class A(eqx.Module, strict=eqx.StrictConfig(force_abstract=True)):
        a: int

    return A(1)


@program("StrictConfig")
def strict_config_misspelt(eqx):
    return type(eqx.StrictConfig(force_abstact=True)).__name__ != ""


@program("StrictConfig")
def strict_config_unknown(eqx):
    return eqx.StrictConfig(nonsense=True) is not None
