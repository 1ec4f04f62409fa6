"""Threads that compile and call at the same time share tables and programs."""

import threading
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import filtered_transforms as ft
from filtered_transforms._jit.bounded_table import BoundedTable
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


def test_eight_threads():
    same = ft.filter_jit(lambda model, x, n: (model.layers[0] * x * n, n))
    results: dict[int, list[Any]] = {}
    barrier = threading.Barrier(8)

    def work(k: int) -> None:
        own = ft.filter_jit(lambda x: x + k, donate="all")
        model = Model([X + k])
        barrier.wait()
        out = []
        for i in range(60):
            y, n = same(model, X, i % 4)
            out.append((np.asarray(y), n, np.asarray(own(X + i))))
        results[k] = out

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for k in range(8):
        for i, (y, n, z) in enumerate(results[k]):
            assert n == i % 4
            np.testing.assert_array_equal(y, (np.arange(3.0) + k) * np.arange(3.0) * n)
            np.testing.assert_array_equal(z, np.arange(3.0) + i + k)


def test_a_table_is_bounded_and_gives_all_threads_the_same(switches: Any):
    def pair() -> Any:
        table = BoundedTable(2)
        table.add(0, "0"), table.add(1, "1")

        def adds(mine: str) -> Any:
            return lambda: (table, table.add(2, mine), table.add(3, mine))

        return adds("a"), adds("b")

    for one, other in switches("/_jit/bounded_table.py").of(pair):
        assert one[1:] == other[1:] and one[0] == {2: one[1], 3: one[2]}


def test_two_threads_that_compile_one_function_find_its_programs(switches: Any):
    def pair() -> Any:
        def f(model: Model, x: jax.Array) -> Any:
            return model.rate * x, model.activation

        return [lambda: (f, ft.filter_jit(f), ft.filter_jit(f)(MODEL, X))] * 2

    for (f, jitted, (y, activation)), (_, _, other) in switches("/_jit/by_function.py").of(pair):
        np.testing.assert_allclose(y, 0.1 * np.arange(3.0), rtol=1e-6)
        np.testing.assert_array_equal(y, other[0])
        assert activation is other[1] is jnp.tanh
        programs = jitted.registry.by_function[weakref.ref(f)]
        assert programs is jitted.registry.of(f) and len(programs.splits) == 1
