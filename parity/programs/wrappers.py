"""`Partial`, and modules that wrap a function."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from registry import program

from programs.modules import pair


@program("Partial")
def partial_call(eqx):
    p = eqx.Partial(lambda x, y, z=0: (x, y, z), 1, z=5)
    return p(2), p(2, z=7), p.args, p.keywords


@program("Partial")
def partial_tree(eqx):
    p = eqx.Partial(jnp.add, jnp.ones(2))
    return jax.tree.leaves(p)[1:], p


@program("Partial")
def partial_paths(eqx):
    p = eqx.Partial(jnp.add, 1, k=2)
    return [jax.tree_util.keystr(k) for k, _ in jax.tree_util.tree_flatten_with_path(p)[0]]


@program("Partial")
def partial_of_a_module(eqx):
    layer = eqx.nn.Linear(2, 3, key=jax.random.PRNGKey(0))
    p = eqx.Partial(layer, key=None)
    return p(jnp.ones(2)), eqx.filter_grad(lambda p: p(jnp.ones(2)).sum())(p)


@program("Partial")
def partial_is_a_module(eqx):
    p = eqx.Partial(abs)
    return isinstance(p, eqx.Module), p(-3), isinstance(p, functools.partial)


@program("Partial")
def partial_without_arguments(eqx):
    return eqx.Partial()


@program("Partial")
def partial_equality(eqx):
    return eqx.Partial(abs, 1) == eqx.Partial(abs, 1), hash(eqx.Partial(abs, 1)) == hash(
        eqx.Partial(abs, 1)
    )


@program("module_update_wrapper")
def update_wrapper(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        def __call__(self, *args):
            return self.fn(*args)

        @property
        def __wrapped__(self):
            return self.fn

    def f(x: int) -> int:
        "Documentation."
        return x

    w = eqx.module_update_wrapper(Wrapper(f))
    return w.__name__, w.__doc__, w.__qualname__, str(inspect.signature(w)), w(3), w


@program("module_update_wrapper")
def update_wrapper_explicit(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

    def f(x):
        return x

    def g(y):
        return y

    return eqx.module_update_wrapper(Wrapper(f), g).__name__


@program("module_update_wrapper")
def update_wrapper_of_no_wrapper(eqx):
    return eqx.module_update_wrapper(pair(eqx)(1))


@program("module_update_wrapper")
def update_wrapper_of_a_partial(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

    w = eqx.module_update_wrapper(Wrapper(functools.partial(abs, 1)))
    return getattr(w, "__name__", "none"), w.__module__.rpartition(".")[2]


@program("module_update_wrapper")
def update_wrapper_survives_flattening(eqx):
    class Wrapper(eqx.Module):
        fn: Any

        @property
        def __wrapped__(self):
            return self.fn

        def __call__(self, *args):
            return self.fn(*args)

    def f(x):
        return x

    w = jax.tree.map(lambda x: x, eqx.module_update_wrapper(Wrapper(f)))
    return w.__name__, w(3)
