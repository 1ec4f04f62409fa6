"""Modules in JAX and Python: array protocols, transformations, trees, printed text."""

import dataclasses
import functools
import inspect
import operator
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from registry import program


def scale(eqx):
    class Scale(eqx.Module):
        factor: Any
        name: str = eqx.field(static=True, default="scale")

        def __call__(self, x):
            "Multiplies."
            return self.factor * x

        def plus(self, x: float, *, y: float = 0.0) -> float:
            return self.factor + x + y

    return Scale


@program("Module")
def jax_array_protocol(eqx):
    class Wrapped(eqx.Module):
        x: Any

        def __jax_array__(self):
            return self.x + 1

    w = Wrapped(jnp.arange(3.0))
    return jnp.sin(w), jnp.asarray(w), w.x + jnp.ones(3)


@program("Module")
def array_protocol(eqx):
    class Wrapped(eqx.Module):
        x: Any

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.x)

    return np.asarray(Wrapped(np.arange(3)))


@program("Module")
def annotations_of_jaxtyping(eqx):
    class Typed(eqx.Module):
        x: Float[Array, "n"]
        y: "Float[Array, 'n']"

    return Typed(jnp.ones(2), jnp.ones(3)), len(dataclasses.fields(Typed))


@program("Module")
def new_style_generic(eqx):
    T = typing.TypeVar("T")

    class Box(eqx.Module, typing.Generic[T]):
        x: T

        def get(self) -> T:
            return self.x

    class IntBox(Box[int]):
        pass

    return IntBox(3).get(), typing.get_type_hints(Box.get)["return"] is T


@program("Module")
def overloaded_operators_reflected(eqx):
    class V(eqx.Module):
        a: Any

        def __radd__(self, other):
            return ("radd", other)

        def __matmul__(self, other):
            return ("matmul", other)

        def __neg__(self):
            return V(-self.a)

    return 1 + V(2), V(2) @ 3, -V(4), operator.neg(V(5))


@program("Module")
def context_manager(eqx):
    class C(eqx.Module):
        def __enter__(self):
            return "entered"

        def __exit__(self, *args):
            return True

    with C() as value:
        raise ValueError
    return value


@program("Module")
def method_as_an_argument_of_scan(eqx):
    m = scale(eqx)(jnp.array(2.0))
    return jax.lax.scan(lambda c, x: (m(c), x), 1.0 * jnp.array(1.0), jnp.arange(3))


@program("Module")
def method_in_partial(eqx):
    return functools.partial(scale(eqx)(2.0).plus, y=5.0)(1.0)


@program("Module")
def method_pickled_by_attribute(eqx):
    m = scale(eqx)(2.0)
    return operator.methodcaller("plus", 1.0)(m), operator.attrgetter("factor")(m)


@program("Module")
def method_get_type_hints(eqx):
    m = scale(eqx)(2.0)
    return typing.get_type_hints(m.plus), m.plus.__annotations__, m.plus.__module__


@program("Module")
def method_isfunction(eqx):
    m = scale(eqx)(2.0)
    return callable(m.plus), inspect.isfunction(type(m).plus), inspect.isfunction(type(m).__call__)


@program("Module")
def class_function_attributes(eqx):
    S = scale(eqx)
    return S.plus.__name__, S.plus.__qualname__, str(inspect.signature(S.plus)), S.__call__.__doc__


@program("Module")
def called_on_the_class(eqx):
    S = scale(eqx)
    return S.plus(S(2.0), 3.0), S.__call__(S(2.0), 3.0)


@program("Module")
def method_of_static_module(eqx):
    S = scale(eqx)
    f = S(3.0).plus
    return jax.jit(f)(1.0), jax.jit(lambda g, x: g(x), static_argnums=0)(f, 1.0)


@program("Module")
def jit_of_a_module_with_hashable_leaves(eqx):
    return jax.jit(scale(eqx)(3.0))(2.0)


@program("Module")
def jit_of_a_module_with_arrays(eqx):
    return jax.jit(scale(eqx)(jnp.array(3.0)))(2.0)


@program("Module")
def vmap_of_a_module(eqx):
    return jax.vmap(scale(eqx)(jnp.array(3.0)))(jnp.arange(2.0))


@program("Module")
def grad_of_a_module(eqx):
    return jax.grad(scale(eqx)(jnp.array(3.0)))(2.0)


@program("Module")
def static_argument_of_jit(eqx):
    f = jax.jit(lambda m, x: m(x), static_argnums=0)
    return f(scale(eqx)(3.0), 2.0)


@program("Module")
def tree_transpose(eqx):
    S = scale(eqx)
    outer = jax.tree.structure([0, 0])
    inner = jax.tree.structure(S(0))
    return jax.tree.transpose(outer, inner, [S(1), S(2)])


@program("Module")
def tree_leaves_none_fields(eqx):
    class A(eqx.Module):
        a: Any = None
        b: Any = ()
        c: Any = dataclasses.field(default_factory=dict)

    return jax.tree.leaves(A()), jax.tree.structure(A()).num_leaves, A()


@program("Module")
def broadcast_prefix(eqx):
    S = scale(eqx)
    return jax.tree_util.tree_map(
        lambda a, b: (a, b), S(None), S(None), is_leaf=lambda x: x is None
    )


@program("Module")
def error_names_the_structure(eqx):
    S = scale(eqx)
    return jax.tree.map(lambda a, b: a, S(1, "x"), S(1, "y"))


@program("Module")
def ellipsis_and_types_as_leaves(eqx):
    class A(eqx.Module):
        a: Any
        b: Any

    return repr(A(..., int)), A(int, ...).a


@program("Module")
def strings_in_repr(eqx):
    class A(eqx.Module):
        a: Any

    return repr(A("it's")), repr(A("a\nb")), repr(A(b"x")), repr(A({"k": {1, 2}})), repr(A(1e-10))


@program("Module")
def repr_of_static_and_defaults(eqx):
    S = scale(eqx)
    return repr(S(1.0)), repr(S(1.0, "other")), repr(S(1.0, name="scale"))


@program("Module")
def repr_of_special_arrays(eqx):
    class A(eqx.Module):
        a: Any

    return [
        repr(A(x))
        for x in (
            jnp.ones((2, 3), jnp.bfloat16),
            np.zeros((), np.int64),
            np.float32(3),
            jax.ShapeDtypeStruct((2,), jnp.int8),
            jnp.array(True),
            jax.random.key(0),
        )
    ]


@program("Module")
def repr_recursive_limits(eqx):
    class A(eqx.Module):
        a: Any

    value = A(1)
    for _ in range(30):
        value = A(value)
    return repr(value)
