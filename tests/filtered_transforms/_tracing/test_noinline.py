"""`noinline`, against the same functions without it."""

import copy
import functools
import gc
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms.extend import noinline
from pytree_module import Module

X = jnp.array([0.5, -1.0, 2.0])
TRACED: list[str] = []


def plain(x: Any, y: Any) -> Any:
    TRACED.append("plain")
    return {"s": jnp.sin(x) * y, "n": jnp.arange(2), "one": 1, "text": "t"}


WRAPPED = noinline(plain)
STAGES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f(X, X)["s"],
    "jit": lambda f: jax.jit(lambda x: f(x, 2.0)["s"])(X),
    "jvp": lambda f: jax.jvp(lambda x: f(x, x)["s"], (X,), (2 * X,)),
    "grad": lambda f: jax.grad(lambda x, y: f(x, y)["s"].sum(), (0, 1))(X, 3 * X),
    "jit grad": lambda f: jax.jit(jax.grad(lambda x: f(x, x)["s"].sum()))(X),
    "hessian": lambda f: jax.hessian(lambda x: f(x, x)["s"].sum())(X),
    "jacrev": lambda f: jax.jacrev(lambda x: f(x, x)["s"])(X),
    "vmap": lambda f: jax.vmap(lambda x: f(x, X)["s"])(jnp.stack([X, 2 * X])),
    "vmaps": lambda f: jax.jit(jax.vmap(jax.vmap(lambda x: f(x, 2.0)["s"]), 1))(jnp.eye(3)),
    "vmap of grad": lambda f: jax.vmap(jax.grad(lambda x: f(x, x)["s"]))(X),
    "grad of vmap": lambda f: jax.grad(lambda x: jax.vmap(lambda x: f(x, x)["s"])(x).sum())(X),
    "scan": lambda f: jax.lax.scan(lambda c, _: (f(c, c)["s"], None), X, None, length=3)[0],
    "cond": lambda f: jax.lax.cond(X[0] > 0, lambda: f(X, X)["s"], lambda: X),
    "linearize": lambda f: jax.linearize(lambda x: f(x, x)["s"], X)[1](X),
    "integers": lambda f: jax.jit(lambda x: f(x, x)["n"])(X),
    "shapes": lambda f: jax.eval_shape(lambda x: f(x, x)["s"], X),
}


@pytest.mark.parametrize("stage", STAGES)
def test_it_computes_the_same(stage: str):
    ours, theirs = STAGES[stage](WRAPPED), STAGES[stage](plain)
    if stage == "shapes":
        assert ours == theirs
        return
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, theirs)


def test_what_is_no_array_goes_through():
    for f in (WRAPPED, ft.filter_jit(WRAPPED)):
        out = f(X, X)
        assert out["one"] == 1 and out["text"] == "t"


def test_it_is_traced_for_itself_once():
    @noinline
    def f(x: Any, y: Any) -> Any:
        TRACED.append("f")
        return x + y

    TRACED.clear()

    @jax.jit
    def g(x: Any) -> Any:
        return f(x, jnp.array(1.0)) + f(x, jnp.array(2.0)) + f(x, jnp.array(3.0))

    np.testing.assert_allclose(g(X), 3 * X + 6)
    one = len(TRACED)
    np.testing.assert_allclose(jax.jit(lambda x: g(x) + f(x, x[0]))(X), 3 * X + 6 + X + X[0])
    assert "f" in TRACED and len(TRACED) - one <= 2  # no program of its own again: shapes alone


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x


def test_functions_that_hold_arrays():
    f = noinline(Scale(X))
    np.testing.assert_array_equal(f(2 * X), 2 * X * X)
    gradient = ft.filter_grad(lambda s: noinline(s)(X).sum())(Scale(2 * X))
    np.testing.assert_array_equal(gradient.weight, X)
    assert ft.filter_grad(lambda f: f(X).sum())(f).dynamic_fn.weight.tolist() == X.tolist()


def test_functions_of_one_shape_take_each_others_place():
    def same(_: Any, x: Any) -> Any:
        return x

    one, other = noinline(lambda x: x + 1, same), noinline(lambda x: 10 * x, same)
    traced: list[int] = []

    @ft.filter_jit
    def call(f: Any, x: Any) -> Any:
        traced.append(1)
        return f(x)

    np.testing.assert_array_equal(call(one, X), X + 1)
    np.testing.assert_array_equal(call(other, X), 10 * X)
    assert len(traced) == 1
    mixed = jax.lax.cond(X[0] > 9, lambda: one(X), lambda: other(X))
    np.testing.assert_array_equal(mixed, 10 * X)


def test_equal_calls_are_traced_together():
    for abstract_fn in (None, lambda _, x, y: x):
        TRACED.clear()

        @functools.partial(noinline, abstract_fn=abstract_fn)
        def f(x: Any, y: Any) -> Any:
            TRACED.append("f")
            return x + y

        @jax.jit
        def g(x: Any) -> Any:
            return f(f(f(f(x, x), x), x), x)

        np.testing.assert_allclose(g(X), 5 * X)
        np.testing.assert_allclose(jax.jit(lambda x: g(x) + f(x, x))(X), 7 * X)
        # Here; and for what a program calls, where JAX has another default device.
        assert len(TRACED) <= 2
        assert jax.grad(lambda x: f(f(x, x), x).sum())(X).tolist() == [3, 3, 3]


def test_weak_types_count_nowhere():
    half, weak = jnp.ones(3, jnp.bfloat16), jnp.asarray(1.0)
    f = noinline(lambda x, y: x * y)
    with jax.numpy_dtype_promotion("standard"):
        assert f(weak, half).dtype == jax.jit(lambda x: f(x, half))(weak).dtype == jnp.float32


def test_two_threads_have_functions_of_their_own(switches: Any):
    def pair() -> tuple[Callable[[], Any], Callable[[], Any]]:
        def same(_: Any, x: Any) -> Any:
            return x

        def wraps(n: int) -> Callable[[], Any]:
            return lambda: noinline(lambda x: x + n, same)

        return wraps(1), wraps(100)

    for one, other in switches("/_tracing/noinline.py").of(pair):
        np.testing.assert_array_equal(one(X), X + 1)
        np.testing.assert_array_equal(other(X), X + 100)


def test_two_threads_share_what_is_equal(switches: Any):
    def pair() -> tuple[Callable[[], Any], Callable[[], Any]]:
        f, shared = (lambda x: x + 1), (lambda _, x: x)
        return (lambda: noinline(f, shared)), (lambda: noinline(f, shared))

    for one, other in switches("/_tracing/noinline.py").of(pair):
        assert one.number == other.number and one == other


@pytest.mark.parametrize("with_abstract_fn", [False, True])
def test_functions_are_let_go(with_abstract_fn: bool):
    alive: list[weakref.ref[Any]] = []

    def program(n: int) -> Any:
        def f(x: Any) -> Any:
            return x + n

        alive.append(weakref.ref(f))
        g = noinline(f, (lambda _, x: x) if with_abstract_fn else None)
        return jax.jit(lambda x: g(x))

    programs = [program(n) for n in range(5)]
    for n, jitted in enumerate(programs):
        np.testing.assert_array_equal(jitted(X), X + n)
    gc.collect()
    for n, jitted in enumerate(programs):  # as long as a program calls them, they are there
        np.testing.assert_array_equal(jitted(2 * X), 2 * X + n)
    assert all(ref() is not None for ref in alive)
    jax.effects_barrier()
    del programs, jitted
    jax.clear_caches()
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []


def add_two(x: Any) -> Any:
    return x + 2


def shaped_as_it_is(_: Any, x: Any) -> Any:
    return x


ELSEWHERE = """
import importlib, pickle, sys
import jax.numpy as jnp
from filtered_transforms.extend import noinline
shaped = importlib.import_module(sys.argv[1]).shaped_as_it_is
others = [noinline(lambda x, n=n: x + 100 * n, shaped) for n in range(1, 4)]
f = pickle.load(sys.stdin.buffer)
assert f(jnp.array(1.0)) == 3.0 and f.number not in [other.number for other in others]
"""


@pytest.mark.parametrize("abstract_fn", [None, shaped_as_it_is])
def test_copied_and_pickled_it_is_the_same_function(abstract_fn: Any):
    f = noinline(add_two, abstract_fn)
    for other in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert other == f and other(jnp.array(1.0)) == 3.0
    if abstract_fn is None:
        return
    root = Path(__file__).parents[__name__.count(".")]  # where this module has its name from
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    command = [sys.executable, "-c", ELSEWHERE, __name__]
    subprocess.run(command, input=pickle.dumps(f), env=env, check=True, timeout=300)


def test_functions_of_one_shape_are_let_go_one_by_one():
    def same(_: Any, x: Any) -> Any:
        return x

    def wrap(n: int) -> Any:
        return noinline(lambda x: x + n, same)

    kept = wrap(0)
    call = ft.filter_jit(lambda f, x: (f(x), f))
    _, returned = call(wrap(1), X)  # traced with this one, whose number is a constant nowhere
    _, idle = call(wrap(2), X)  # here only the number is of the function
    program = jax.jit(functools.partial(lambda f, x: f(x), wrap(3))).lower(X).compile()
    functions = kept.interface._by_number
    one = weakref.ref(functions[2].function)
    assert len(functions) == 4
    for n in range(4, 4 + 3000):
        wrap(n)
    gc.collect()
    assert len(functions) <= 1024 + 3
    assert one() is None
    for f, n in ((kept, 0), (returned, 1)):
        np.testing.assert_array_equal(call(f, X)[0], X + n)
    np.testing.assert_array_equal(program(X), X + 3)
    np.testing.assert_array_equal(wrap(2)(X), X + 2)
    with pytest.raises(RuntimeError, match="no longer there"):
        idle(X)


def test_a_function_that_is_used_stays_though_only_its_number_is_left():
    def same(_: Any, x: Any) -> Any:
        return x

    call = ft.filter_jit(lambda f, x: (f(x), f))
    first = noinline(lambda x: x, same)
    call(first, X)
    _, f = call(noinline(lambda x: x * 2, same), X)
    for n in range(2000):
        noinline(lambda x, n=n: x + n, same)
        if n % 500 == 0:
            np.testing.assert_array_equal(f(X), 2 * X)
    np.testing.assert_array_equal(f(X), 2 * X)
