"""`donate`: whose memory a program may take; where it cannot, nothing is said or changed."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0)


def both(a: jax.Array, b: jax.Array) -> Any:
    return a + 1, b + 1


def neither(a: jax.Array, b: jax.Array) -> Any:
    return a.sum()


DONATED = {
    "all": (True, True),
    "warn": (True, True),
    "all-except-first": (False, True),
    "warn-except-first": (False, True),
    "none": (False, False),
    ("b",): (False, True),
    ("a", "b"): (True, True),
}


@pytest.mark.parametrize("donate", DONATED)
@pytest.mark.parametrize("keywords", [False, True])
def test_donation(donate: Any, keywords: bool):
    f = ft.filter_jit(both, donate=donate)
    for _ in range(2):
        a, b = jnp.ones(3), jnp.ones(3)
        f(b=b, a=a) if keywords else f(a, b)
        assert (a.is_deleted(), b.is_deleted()) == DONATED[donate]


@pytest.mark.parametrize("donate", DONATED)
def test_donations_without_use(donate: Any):
    f = ft.filter_jit(neither, donate=donate)
    a, b = jnp.ones(3), jnp.ones(5)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        f(a, b), f(a, b)
    warns = donate in ("warn", ("b",), ("a", "b"), "warn-except-first")
    # An argument that the program does not use at all is dropped before it could be donated.
    assert all("donated buffers were not usable" in str(w.message) for w in seen)
    assert (len(seen) > 0) == (warns and donate not in ("warn-except-first", ("b",)))


def test_donation_to_a_function_that_closes_over_arrays():
    # Since JAX 0.12 they are inputs of its program, before the arguments.
    table, rows = jnp.arange(8.0), jnp.arange(2)

    def f(unused: jax.Array, index: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return table[rows[index]] + x, (index + 1)[:2]

    donating, by_jax = ft.filter_jit(f, donate="all"), jax.jit(f, donate_argnums=2)
    for _ in range(2):
        given, of_jax = ([jnp.ones(5), jnp.zeros(3, "i4"), jnp.ones(3)] for _ in range(2))
        results = donating(*given), by_jax(*of_jax)
        jax.tree.map(np.testing.assert_array_equal, *results)
        assert [x.is_deleted() for x in given] == [x.is_deleted() for x in of_jax]
        assert given[2].is_deleted()


def test_donation_of_methods_and_callables():
    class M(Module):
        w: jax.Array

        @ft.filter_jit(donate="all-except-first")
        def keep_self(self, x: jax.Array) -> jax.Array:
            return self.w + x

        def plain(self, x: jax.Array) -> jax.Array:
            return self.w + 1

    m, x = M(jnp.ones(3)), jnp.ones(3)
    m.keep_self(x)
    assert x.is_deleted() and not m.w.is_deleted()
    m, x = M(jnp.ones(3)), jnp.ones(3)
    ft.filter_jit(m.plain, donate="all-except-first")(x)  # the first argument is `x`
    assert m.w.is_deleted() and not x.is_deleted()


def test_donation_of_names_that_are_none():
    with pytest.raises(ValueError, match="'q'"):
        ft.filter_jit(both, donate=("q",))(X, X)
    with pytest.raises(ValueError, match="must be one of 'all'"):
        ft.filter_jit(both, donate="some")


# --- what the program has no use for

VECTOR = jnp.arange(4.0)
# Functions of three vectors of four, which a program may take for its results, or not.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "all": lambda a, b, c: (c + 1, b * a, a + c),
    "one result": lambda a, b, c: a + b + c,
    "the first is not used": lambda a, b, c: b + c,
    "the first is not used inside": lambda a, b, c: jax.jit(lambda a, b: b)(a, b + c) + c,
    "nothing fits": lambda a, b, c: (a.sum(), (b + c) > 0, c[:2]),
    "the size fits": lambda a, b, c: (a.reshape(2, 2) + 1, b + c),
    "the type does not": lambda a, b, c: (a.astype(jnp.int32), b.astype(jnp.int32) + 1, c),
    "as it came": lambda a, b, c: (a, c),
    "twice": lambda a, b, c: (a + 1, a + 2, c.sum() + b.sum()),
    "nothing": lambda a, b, c: (),
}


def deleted_by(f: Callable[..., Any]) -> tuple[Any, list[bool]]:
    args = [VECTOR + i for i in range(3)]
    out = jax.tree.map(np.asarray, f(*args))
    return out, [x.is_deleted() for x in args]


@pytest.mark.parametrize("keep_unused", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_that_jax_can_use_is_donated_and_nothing_is_said(name: str, keep_unused: bool):
    def f(*args: jax.Array) -> Any:  # new each time: JAX takes a program with other options for it
        return FUNCTIONS[name](*args)

    with warnings.catch_warnings(action="ignore"):
        theirs = deleted_by(jax.jit(f, donate_argnums=(0, 1, 2), keep_unused=keep_unused))
    jitted = ft.filter_jit(f, donate="all", keep_unused=keep_unused)
    for _ in range(2):
        out, deleted = deleted_by(jitted)
        jax.tree.map(np.testing.assert_array_equal, out, theirs[0])
        assert deleted == theirs[1]


def test_what_can_be_used_depends_on_shapes():
    traced: list[Any] = []

    def f(a: jax.Array, b: jax.Array) -> jax.Array:
        traced.append(a.shape)
        return jnp.zeros(3, a.dtype) + a.sum() + b.sum()

    jitted = ft.filter_jit(f, donate="all")
    for _ in range(2):
        for m, n, expected in [(3, 2, (1, 0)), (2, 3, (0, 1)), (2, 2, (0, 0)), (3, 3, (1, 0))]:
            a, b = jnp.ones(m), jnp.ones(n)
            np.testing.assert_array_equal(jitted(a, b), np.full(3, m + n))
            assert (a.is_deleted(), b.is_deleted()) == expected
    assert len(traced) == 4


# What `Donating` relies on in JAX.
def test_an_error_while_tracing_comes_out_and_nothing_is_kept():
    class Other(Exception):
        pass

    error, calls = Other(), []

    @jax.jit
    def f(x: jax.Array) -> jax.Array:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return x + 1

    with pytest.raises(Other) as caught:
        f(VECTOR)
    assert caught.value is error
    np.testing.assert_array_equal(f(VECTOR), VECTOR + 1)
    assert len(calls) == 2


def test_explicit_shardings():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = jax.NamedSharding(mesh, jax.P("i"))
    gather = ft.filter_jit(lambda x: jax.sharding.reshard(x, jax.P()) + 1, donate="all")
    keep = ft.filter_jit(lambda x: x + 1, donate="all")
    set_mesh = getattr(jax, "set_mesh", None) or jax.sharding.set_mesh
    with set_mesh(mesh):
        for f, is_used in ((gather, False), (keep, True)):
            x = jax.device_put(VECTOR, split)
            np.testing.assert_array_equal(f(x), np.arange(4.0) + 1)
            assert x.is_deleted() == is_used


def test_ahead_of_time_nothing_is_said():
    f = ft.filter_jit(lambda a, s: (a.sum(), s), donate="all")
    total, s = f.lower(X, "s").compile()(X, "s")
    assert total == 3 and s == "s" and not X.is_deleted()


def test_what_is_traced_is_not_donated():
    f = ft.filter_jit(lambda x: jnp.sin(x), donate="all")
    x = jnp.arange(3.0)
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(x), jnp.cos(X), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(f)(x), jnp.sin(X), rtol=1e-6)
    assert not x.is_deleted()
    with jax.disable_jit():
        f(x)
    assert not x.is_deleted()
    f(x)
    assert x.is_deleted()


# --- the process


def in_other_thread(f: Callable[[], Any]) -> Any:
    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(f()))
    thread.start()
    thread.join()
    return out[0]


@pytest.mark.parametrize("transform", [ft.filter_jit, ft.filter_pmap])
def test_compiling_changes_no_filter_of_warnings(transform: Callable[..., Any]):
    # One compiles while another does, here and in another thread: none of them may leave a trace
    # in what the process shares, or hear less for it.
    before = list(warnings.filters)

    def compiling(transform: Callable[..., Any], inside: Callable[[], Any]) -> Callable[[], Any]:
        def f(x: jax.Array) -> jax.Array:
            assert warnings.filters == before
            inside()
            assert warnings.filters == before
            with pytest.warns(UserWarning, match="Some donated buffers were not usable"):
                warnings.warn("Some donated buffers were not usable: mine", stacklevel=1)
            return x.sum()

        return lambda: transform(f, donate="all")(jnp.ones((2, 3)))

    innermost = compiling(ft.filter_jit, lambda: None)
    inner = compiling(transform, innermost)
    compiling(transform, lambda: in_other_thread(inner))()
    compiling(transform, compiling(ft.filter_jit, innermost))()
    assert warnings.filters == before
