"""Methods, read from an instance and from a class."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from registry import program

from programs.modules import pair


@program("Module")
def methods_are_trees(eqx):
    m = pair(eqx)(1, 3).total
    return jax.tree.leaves(m), jax.tree.map(lambda x: x * 10, m)(), m(scale=2)


@program("Module")
def method_paths(eqx):
    found = jax.tree_util.tree_flatten_with_path(pair(eqx)(1, 3).total)[0]
    return [jax.tree_util.keystr(p) for p, _ in found]


@program("Module")
def method_attributes(eqx):
    m = pair(eqx)(1, 3).total
    return m.__name__, m.__qualname__, m.__self__, m.__func__.__name__, str(inspect.signature(m))


@program("Module")
def method_doc(eqx):
    class A(eqx.Module):
        def f(self):
            "What f does."

    return A().f.__doc__, A().f.__wrapped__.__name__


@program("Module")
def method_equality(eqx):
    P = pair(eqx)
    return bool(P(1).total == P(1).total), bool(P(1).total == P(2).total)


@program("Module")
def method_through_jit(eqx):
    P = pair(eqx)

    @jax.jit
    def f(method, x):
        return method(x)

    return f(P(jnp.array(1.0), jnp.array(2.0)).total, 3.0)


@program("Module")
def method_is_partial_like(eqx):
    return repr(pair(eqx)(1, 3).total)


@program("Module")
def jitted_method(eqx):
    class A(eqx.Module):
        a: Any

        @eqx.filter_jit
        def f(self, x, flag=True):
            return self.a * x if flag else x

    return A(2.0).f(3.0), A(jnp.array(2.0)).f(3.0, flag=False), A.f(A(2.0), 4.0)


@program("Module")
def jax_jitted_method(eqx):
    class A(eqx.Module):
        a: Any

        @jax.jit
        def f(self, x):
            return self.a * x

    return A(2.0).f(3.0)


@program("Module")
def partialmethod(eqx):
    class A(eqx.Module):
        a: int

        def f(self, x, y):
            return self.a, x, y

        g = functools.partialmethod(f, 2)

    return A(1).g(3)


@program("Module")
def custom_jvp_method(eqx):
    class A(eqx.Module):
        a: Any

        def f(self, x):
            return self.a * x

    return jax.grad(A(2.0).f)(3.0), jax.vmap(A(2.0).f)(jnp.arange(3.0))


@program("Module")
def super_method(eqx):
    class A(eqx.Module):
        a: int

        def f(self):
            return self.a

    class B(A):
        def f(self):
            return super().f() + 1

    return B(1).f(), A.f(B(1))


@program("Module")
def wrapped_decorated_method(eqx):
    def decorate(fn):
        @functools.wraps(fn)
        def wrapper(self, *args):
            return ("decorated", fn(self, *args))

        return wrapper

    class A(eqx.Module):
        a: int

        @decorate
        def f(self, x):
            return self.a + x

        @decorate
        def __call__(self, x):
            return self.a * x

    return A(1).f(2), A(3)(2)
