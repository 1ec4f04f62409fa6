"""What a call of a `filter_jit`-ed function leaves behind: nothing."""

import gc
import pickle
import tracemalloc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms._jit.by_function import is_weak
from pytree_module import Module

X = jnp.arange(3.0)


class Model(Module):
    layers: list[Any]
    activation: Any = jnp.tanh
    rate: float = 0.1

    @ft.filter_jit
    def method(self, x: jax.Array) -> Any:
        return self, x


MODEL = Model([X, (X, "name", None), {"w": X, "flag": True}])


def calls() -> list[Any]:
    f = ft.filter_jit(lambda model, x, name: (model, x, name))
    donating = ft.filter_jit(lambda x: x + 1, donate="all")
    return [
        lambda: f(MODEL, X, "n"),
        lambda: f(MODEL, X, name="n"),
        lambda: MODEL.method(X),
        lambda: donating(X + 1),
        lambda: ft.filter_jit(MODEL.method)(X),
        lambda: ft.combine(*ft.partition(MODEL, ft.is_array)),
    ]


# https://github.com/patrick-kidger/equinox/issues/1145
@pytest.mark.parametrize("call", calls())
def test_the_cyclic_collector_finds_nothing(call: Any):
    for _ in range(3):
        call()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(1000):
            call()
        gc.collect()
        found = [type(x) for x in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert found == []


def test_memory_is_flat_over_calls():
    f = ft.filter_jit(lambda model, x: (model, x))
    for _ in range(100):
        f(MODEL, X)
    gc.collect()
    tracemalloc.start()
    try:
        f(MODEL, X)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3000):
            f(MODEL, X)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


def test_dropped_functions_are_let_go():
    alive: list[weakref.ref[Any]] = []
    for i in range(20):

        def f(x: Any, i: int = i) -> Any:
            return x + i

        jitted = ft.filter_jit(f)
        np.testing.assert_array_equal(jitted(X), X + i)
        alive.append(weakref.ref(f))
    registry = jitted.registry
    del f, jitted
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []
    assert all(programs.function() is not None for programs in registry.by_function.values())


def test_static_values_do_not_pile_up():
    f = ft.filter_jit(lambda x, i: x)
    f(X, 0)
    (programs,) = [p for p in f.registry.by_function.values() if p.function() is f.fun]
    (plan,) = programs.known.values()
    from_outside = len(plan.programs)
    for i in range(3):
        f(X, i)
    assert len(plan.programs) == from_outside + 2
    for i in range(3, 1100):
        plan.programs.setdefault(("filler", i), None)
    f(X, 5000)
    assert len(plan.programs) <= 1024


def test_classes_of_callables_and_of_options_do_not_pile_up():
    def make() -> Any:
        class Callable:
            def __call__(self, x: Any) -> Any:
                return x + 1

        return Callable()

    fun = make()
    alive = weakref.ref(type(fun))
    ft.filter_jit(fun)(X)
    # Of an option that is in a key alone. Nothing is compiled for the others.
    jitted = ft.filter_jit(lambda x: x, compiler_options={"xla_dump_to": "first"})
    registry = weakref.ref(jitted.registry)
    del fun, jitted
    for i in range(1100):
        is_weak(make())
        ft.filter_jit(lambda x: x, compiler_options={"xla_dump_to": str(i)})
    gc.collect()
    assert alive() is None and registry() is None


def test_all_that_was_wrapped_is_cleared_however_many_options_there_are():
    traced: list[int] = []

    def f(x: Any) -> Any:
        traced.append(1)
        return x

    jitted = ft.filter_jit(f, donate=("x",))
    jitted(X + 1)
    for i in range(300):
        ft.filter_jit(lambda x: x, compiler_options={"xla_dump_to": f"cleared {i}"})
    jitted(X + 1)
    assert len(traced) == 1
    ft.clear_caches()
    jitted(X + 1)
    assert len(traced) == 2


def doubled(x: Any) -> Any:
    return 2 * x


def test_what_was_pickled_is_equal_however_many_options_there_are():
    jitted = ft.filter_jit(doubled, inline=True)
    for i in range(300):  # more than are kept for their own sake
        ft.filter_jit(lambda x: x, compiler_options={"xla_dump_to": f"pickled {i}"})
    assert pickle.loads(pickle.dumps(jitted)) == jitted
