"""What a call of a `filter_jit`-ed function leaves behind: nothing, and nobody waits for it."""

import gc
import threading
import tracemalloc
import weakref
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import mlir

import filtered_transforms as ft
from filtered_transforms._control_flow.body_cache import BodyCache
from filtered_transforms._jit.bounded_table import Table
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


# --- waiting


def test_a_program_without_checks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    waited: list[Any] = []
    monkeypatch.setattr("filtered_transforms._jit.filter_jit.wait", waited.append)
    x = jnp.ones((3, 3))
    of_arrays, mixed = ft.filter_jit(lambda x: x @ x), ft.filter_jit(lambda x, name: (x @ x, name))
    for _ in range(2):  # when it is compiled, and later
        assert (of_arrays(x) == 3).all()
        assert (mixed(x, "n")[0] == 3).all()
    assert waited == []


class _Failed(Exception):
    pass


def _make_check() -> Any:
    primitive = jax.extend.core.Primitive("test_check")
    primitive.def_abstract_eval(lambda x: x)
    primitive.def_impl(lambda x: x)
    mlir.register_lowering(primitive, mlir.lower_fun(lambda x: x + 1, multiple_results=False))
    return primitive


def test_programs_with_checks_are_found(monkeypatch: pytest.MonkeyPatch):
    check = _make_check()
    ft.extend.register_check(check, lambda error: None)
    waited: list[int] = []
    monkeypatch.setattr("filtered_transforms._jit.filter_jit.wait", lambda arrays: waited.append(1))
    inner = jax.jit(check.bind)
    inner(X)  # traced and cached before any outer function is
    with_check = {
        "direct": lambda x: check.bind(x),
        "inner": lambda x: inner(x) + 1,
        "scan": lambda x: jax.lax.scan(lambda c, _: (inner(c), None), x, None, length=2)[0],
        "cond": lambda x: jax.lax.cond(x[0] > 0, lambda: check.bind(x), lambda: x),
        "while": lambda x: jax.lax.while_loop(lambda c: c[0] < 2, check.bind, x),
        "remat": jax.checkpoint(check.bind),
    }
    for name, f in with_check.items():
        jitted = ft.filter_jit(f)
        for count in (1, 2):
            jitted(X)
            assert len(waited) == count, name
        waited.clear()
    plain = ft.filter_jit(lambda x, flag: check.bind(x) if flag else x)
    plain(X, False), plain(X, False)
    assert waited == []
    plain(X, True)
    assert waited == [1]


def test_a_failed_check_is_translated():
    def fail(x: np.ndarray) -> np.ndarray:
        raise ValueError("boom")

    ft.extend.register_check(
        _make_check(), lambda e: _Failed("ours") if "our own text" in str(e) else None
    )

    def ours(x: np.ndarray) -> np.ndarray:
        raise ValueError("our own text")

    with pytest.raises(_Failed, match="ours"):
        f = ft.filter_jit(lambda x: jax.pure_callback(ours, x, x))
        check = _make_check()
        ft.extend.register_check(check, lambda error: None)
        ft.filter_jit(lambda x: check.bind(f(x)))(X)
    with pytest.raises(jax.errors.JaxRuntimeError, match="boom"):
        jax.block_until_ready(ft.filter_jit(lambda x: jax.pure_callback(fail, x, x))(X))


# --- threads


def test_a_table_is_bounded_and_gives_all_threads_the_same(switches: Any):
    def pair() -> Any:
        table = Table(2)
        table.add(0, "0"), table.add(1, "1")

        def adds(mine: str) -> Any:
            return lambda: (table, table.add(2, mine), table.add(3, mine))

        return adds("a"), adds("b")

    for one, other in switches("_table.py").of(pair):
        assert one[1:] == other[1:] and one[0] == {2: one[1], 3: one[2]}


def test_two_threads_that_compile_one_function_find_its_programs(switches: Any):
    def pair() -> Any:
        def f(model: Model, x: jax.Array) -> Any:
            return model.rate * x, model.activation

        return [lambda: (f, ft.filter_jit(f), ft.filter_jit(f)(MODEL, X))] * 2

    for (f, jitted, (y, activation)), (_, _, other) in switches("_by_function.py").of(pair):
        np.testing.assert_allclose(y, 0.1 * np.arange(3.0), rtol=1e-6)
        np.testing.assert_array_equal(y, other[0])
        assert activation is other[1] is jnp.tanh
        programs = jitted.registry.by_function[weakref.ref(f)]
        assert programs is jitted.registry.of(f) and len(programs.plans) == 1


def test_two_threads_share_the_bodies_of_loops(switches: Any):
    bodies = BodyCache(lambda reference, *options: lambda x: (reference()(x), options))

    def pair() -> Any:
        def f(x: int) -> int:
            return x + 1

        return (lambda: (f, bodies.of(f, 2))), (lambda: (f, bodies.of(f, 2)))

    for (f, one), (_, other) in switches("_held.py").of(pair):
        assert one is other is bodies.of(f, 2) and one(1) == (2, (2,))
