"""What `filter_jit` traces and compiles once, and what again."""

import copy
import functools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module, Partial

X = jnp.arange(3.0)


class Counter:
    """Counts the traces of the functions that call it."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> None:
        self.n += 1


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


def test_trace_counts():
    count = Counter()

    @ft.filter_jit
    def f(model: Scale, x: Any, flag: Any = None) -> Any:
        count()
        return model(x)

    f(Scale(X), X), f(Scale(X + 1), X + 1), f(Scale(np.ones(3, np.float32)), X)
    assert count.n == 1
    f(Scale(X, "other"), X)
    assert count.n == 2
    f(Scale(X), X, 1), f(Scale(X), X, 1), f(Scale(X), X, 1.0)
    assert count.n == 4
    f(Scale(X), X, flag=1), f(Scale(X), X, flag=1)
    assert count.n == 5
    f(Scale(jnp.ones(2)), jnp.ones(2))
    assert count.n == 6


def test_weak_types_and_x64_are_as_in_jax():
    count = Counter()

    @ft.filter_jit
    def f(x: Any) -> Any:
        count()
        return x * 2

    weak = jnp.asarray(1.0)
    for x in (weak, jnp.float32(1), weak):
        assert f(x).weak_type == jax.jit(lambda x: x * 2)(x).weak_type
    assert count.n == 2
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        assert f(np.float64(1)).dtype == np.float64
    assert count.n == 3


def test_wrapping_a_function_twice_compiles_once():
    count = Counter()

    def f(x: Any) -> Any:
        count()
        return x

    for _ in range(3):
        ft.filter_jit(f)(X)
    assert count.n == 1
    assert ft.filter_jit(f) == ft.filter_jit(f) != ft.filter_jit(f, donate="all")
    assert hash(ft.filter_jit(f)) == hash(ft.filter_jit(f))


# https://github.com/patrick-kidger/equinox/issues/268
# https://github.com/patrick-kidger/equinox/issues/291
# https://github.com/patrick-kidger/equinox/issues/686
def test_methods_of_equal_modules_compile_once():
    count = Counter()

    class Counted(Module):
        weight: jax.Array

        def plain(self, x: jax.Array) -> jax.Array:
            count()
            return self.weight * x

        @ft.filter_jit
        def jitted(self, x: jax.Array) -> jax.Array:
            count()
            return self.weight * x

    assert Counted(X).plain == Counted(X).plain and Counted(X).jitted == Counted(X).jitted
    assert hash(Counted(X).jitted) == hash(Counted(X).jitted)
    for i in range(3):
        np.testing.assert_array_equal(ft.filter_jit(Counted(X + i).plain)(X), (X + i) * X)
    assert count.n == 1
    for i in range(3):
        np.testing.assert_array_equal(Counted(X + i).jitted(X), (X + i) * X)
    assert count.n == 2
    for i in range(3):
        ft.filter_jit(lambda g, x: g(x))  # a new function: never called, costs nothing
        ft.filter_jit(Partial(Counted(X + i).plain))(X)
    assert count.n == 3


def scaled(x: jax.Array, factor: Any = 2) -> jax.Array:
    return x * factor


with_jvp, other_jvp = jax.custom_jvp(scaled), jax.custom_jvp(lambda x: x + 3)
with_jvp.defjvps(lambda tangent, out, x: 2 * tangent)
other_jvp.defjvps(lambda tangent, out, x: tangent)


@ft.filter_custom_vjp
def with_rule(x: jax.Array) -> jax.Array:
    return 2 * x


with_rule.def_fwd(lambda perturbed, x: (2 * x, None))
with_rule.def_bwd(lambda residuals, g, perturbed, x: 2 * g)

# What a model may hold, and whether `pickle` takes it.
HELD: dict[str, tuple[Any, bool]] = {
    "a function": (scaled, True),
    "an activation": (jax.nn.relu, False),
    "a jitted function of JAX's": (jnp.tanh, False),
    "jit": (jax.jit(scaled), False),
    "custom_jvp": (with_jvp, False),
    "partial": (functools.partial(scaled, factor=3), True),
    "partial of an activation": (functools.partial(jax.nn.gelu, approximate=False), False),
    "Partial": (Partial(scaled, factor=3), True),
    "filter_jit": (ft.filter_jit(scaled), True),
    "filter_grad": (ft.filter_grad(scaled), True),
    "filter_vmap": (ft.filter_vmap(scaled), True),
    "filter_pmap": (ft.filter_pmap(scaled), True),
    "filter_checkpoint": (ft.filter_checkpoint(scaled), True),
    "filter_custom_vjp": (with_rule, True),
    "noinline": (ft.extend.noinline(scaled), True),
    "dtype": (jnp.float32, True),
    "a method": (Scale(X).named, True),
}


@pytest.mark.parametrize("name", HELD)
def test_a_copied_or_pickled_model_is_traced_no_more(name: str):
    held, can_be_pickled = HELD[name]
    count = Counter()

    @ft.filter_jit
    def f(model: Scale, x: jax.Array) -> Any:
        count()
        return x

    model = Scale(X, held)
    f(model, X)
    copies = [copy.copy(model), copy.deepcopy(model), copy.deepcopy(copy.deepcopy(model))]
    if can_be_pickled:
        copies.append(pickle.loads(pickle.dumps(model)))
    for each in copies:
        f(each, X), f(each, X)
    assert count.n == 1


def test_what_is_no_copy_is_traced_for_itself():
    count = Counter()

    @ft.filter_jit
    def f(model: Any) -> Any:
        count()
        return model(jnp.ones(3))

    different: list[Any] = [
        functools.partial(scaled, factor=1),
        functools.partial(scaled, factor=1.0),
        functools.partial(scaled, factor=np.float32(1)),
        functools.partial(scaled, factor=jnp.float32(1)),
        functools.partial(lambda x, factor: x - factor, factor=1),
        functools.partial(jnp.add, 1.0),
        jax.jit(scaled),
        jax.jit(scaled, inline=True),
        jax.jit(lambda x: x + 1),
        with_jvp,
        other_jvp,
    ]
    for g in (*different, *different):
        np.testing.assert_array_equal(f(g), g(jnp.ones(3)))
    assert count.n == len(different)


def test_clear_caches():
    count = Counter()

    @ft.filter_jit
    def f(x: Any) -> Any:
        count()
        return x

    f(X), ft.clear_caches(), f(X)
    assert count.n == 2
    jax.clear_caches(), f(X)
    assert count.n == 3
