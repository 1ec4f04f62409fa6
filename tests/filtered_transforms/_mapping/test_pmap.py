"""`filter_pmap`, against `jax.pmap` on the arrays alone."""

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(6.0).reshape(2, 3)
V = jnp.arange(3.0) + 1


def multiply(a: Any, b: Any) -> Any:
    return a * b


class Linear(Module):
    weight: jax.Array
    name: str = "linear"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight @ x


CASES: list[tuple[Any, tuple[Any, ...], Any]] = [
    (ft.if_array(0), (X, X), 0),
    (0, (X, X + 1), 0),
    ((0, None), (X, V), (0, None)),
    ({"b": None}, (X, V), (0, None)),
    ((1, None), (X.T, V), (1, None)),
    ((-1, None), (X.T, V), (1, None)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_in_axes(case: Any):
    in_axes, args, theirs = case
    f = ft.filter_pmap(multiply, in_axes=in_axes)
    expected = jax.pmap(multiply, in_axes=theirs)(*args)
    for _ in range(2):
        np.testing.assert_array_equal(f(*args), expected)


@pytest.mark.parametrize("out_axes", [0, 1, -1, ft.if_array(1)])
def test_out_axes(out_axes: Any):
    out = ft.filter_pmap(lambda a, s: (2 * a, s), out_axes=(out_axes, None))(X, "s")
    np.testing.assert_array_equal(out[0], 2 * X if out_axes == 0 else 2 * X.T)
    assert out[1] == "s"
    out = ft.filter_pmap(lambda a, b: (a * b, b), in_axes=(0, None), out_axes=(0, None))(X, V)
    np.testing.assert_array_equal(out[1], V)


# https://github.com/patrick-kidger/equinox/issues/115
def test_results_that_are_no_arrays():
    out = ft.filter_pmap(lambda a, s: (a * 2, s, 1, None, len))(X, "text")
    np.testing.assert_array_equal(out[0], 2 * X)
    assert out[1:] == ("text", 1, None, len)


def test_axis_name_and_size():
    f = ft.filter_pmap(lambda a: jax.lax.psum(a, "i"), axis_name="i")
    np.testing.assert_array_equal(f(X), jnp.stack([X.sum(0)] * 2))
    np.testing.assert_array_equal(ft.filter_pmap(lambda: V, axis_size=2)(), jnp.stack([V, V]))
    with pytest.raises(ValueError, match="Cannot resolve batch dimension"):
        ft.filter_pmap(lambda: V)()


def test_modules_and_transforms():
    model = Linear(jnp.arange(6.0).reshape(2, 3))
    expected = jax.vmap(model)(X)
    np.testing.assert_array_equal(ft.filter_pmap(model)(X), expected)
    f = ft.filter_pmap(lambda m, x: (m(x), m.name), in_axes=(None, 0))
    out, name = f(model, X)
    np.testing.assert_array_equal(out, expected)
    assert name == "linear"
    models = ft.filter_pmap(Linear)(jnp.stack([model.weight, model.weight + 1]))
    assert isinstance(models, Linear) and models.weight.shape == (2, 2, 3)
    gradient = ft.filter_grad(lambda m: f(m, X)[0].sum())(model)
    np.testing.assert_array_equal(gradient.weight, jnp.stack([X.sum(0)] * 2))


# https://github.com/patrick-kidger/equinox/issues/192
def test_a_function_is_traced_for_new_arguments_only():
    traces: list[Any] = []

    def f(model: Linear, x: Any, s: str) -> Any:
        traces.append(s)
        return Linear(model.weight + x.sum(), s)

    g = ft.filter_pmap(f, in_axes=(None, 0, None))
    model = Linear(jnp.ones((2, 3)))
    g(model, X, "a")
    count = len(traces)
    for k in range(3):
        out = g(model, X + k, "a")
        expected = np.ones((2, 2, 3)) + np.asarray(X + k).sum(1)[:, None, None]
        np.testing.assert_array_equal(out.weight, expected)
    assert len(traces) == count and out.name == "a"
    assert g(model, X, "b").name == "b" and len(traces) == 2 * count


def loss(model: Linear, x: jax.Array) -> jax.Array:
    return model(x).sum()


class Counted(Linear):
    @ft.filter_pmap(in_axes=(None, 0))
    def decorated(self, x: jax.Array) -> jax.Array:
        return self(x)

    def __call__(self, x: jax.Array) -> jax.Array:
        TRACES.append(self.name)
        return self.weight @ x


TRACES: list[str] = []
ONE = {"in_axes": (None, 0)}
ANEW = {
    "a module": lambda m: ft.filter_pmap(m)(X),
    "a method": lambda m: ft.filter_pmap(m.__call__)(X),
    "a decorated method": lambda m: m.decorated(X),
    "a gradient": lambda m: ft.filter_pmap(ft.filter_grad(loss), **ONE)(m, X),
    "value and gradient": lambda m: ft.filter_pmap(ft.filter_value_and_grad(loss), **ONE)(m, X),
    "a jitted function": lambda m: ft.filter_pmap(ft.filter_jit(loss), **ONE)(m, X),
    "the function": lambda m: ft.filter_pmap(loss, **ONE)(m, X),
}


@pytest.mark.parametrize("case", ANEW)
def test_what_is_wrapped_anew_is_traced_once_for_its_shapes_and_once_by_pmap(case: str):
    ft.clear_caches()
    for k in range(3):
        TRACES.clear()
        weight = jnp.arange(6.0).reshape(2, 3) + k
        out = jax.tree.leaves(ANEW[case](Counted(weight)))
        assert len(TRACES) <= (2 if k == 0 else 0)
        assert k > 0 or len(TRACES) > 0
        if "gradient" in case:
            np.testing.assert_array_equal(out[-1], [np.stack([x, x]) for x in X])
        elif case in ("the function", "a jitted function"):
            np.testing.assert_allclose(out[0], (X @ weight.T).sum(1), rtol=1e-6)
        else:
            np.testing.assert_allclose(out[0], X @ weight.T, rtol=1e-6)
    TRACES.clear()
    ANEW[case](Counted(weight, "other"))
    assert len(TRACES) > 0


def test_options_have_programs_of_their_own():
    def f(x: jax.Array) -> jax.Array:
        return x + jax.lax.axis_size("i")

    np.testing.assert_array_equal(ft.filter_pmap(f, axis_name="i")(X), X + 2)
    with pytest.raises(NameError, match="i"):
        ft.filter_pmap(f)(X)
    turned = ft.filter_pmap(f, axis_name="i", out_axes=1)
    np.testing.assert_array_equal(turned(X), X.T + 2)
    first = ft.filter_pmap(f, axis_name="i", devices=jax.devices()[:1])
    np.testing.assert_array_equal(first(X[:1]), X[:1] + 1)


def test_dropped_functions_are_let_go():
    alive: list[Any] = []
    for i in range(3):

        def f(x: jax.Array, i: int = i) -> jax.Array:
            return x + i

        np.testing.assert_array_equal(ft.filter_pmap(f, donate="all")(X + 0), X + i)
        alive.append(weakref.ref(f))
    del f
    gc.collect()
    assert [ref for ref in alive if ref() is not None] == []


def test_programs_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("filtered_transforms._mapping.pmap._MAX_PROGRAMS", 2)
    traced: list[int] = []
    f = ft.filter_pmap(lambda x, n: traced.append(n) or x * n)
    for n in (1, 2, 3, 3, 2, 1):
        np.testing.assert_array_equal(f(jnp.ones((1, 2)), n), n * jnp.ones((1, 2)))
    # Each program is traced once for its shapes and once by `jax.pmap`; that of 1 was let go.
    assert list(dict.fromkeys(traced)) == [1, 2, 3]
    assert traced.count(2) == traced.count(3) and traced.count(1) == 2 * traced.count(3)


@pytest.mark.parametrize("donate", ["all", "warn", "none", "all-except-first", ("a",)])
def test_donate(donate: Any):
    f = ft.filter_pmap(lambda a, s: (a + 1, s), donate=donate)
    out, s = f(X + 0, "s")
    np.testing.assert_array_equal(out, X + 1)
    assert s == "s"


def test_lower():
    f = ft.filter_pmap(lambda a, s: (a * 2, s))
    lowered = f.lower(X, "s")
    assert "multiply" in lowered.as_text()
    out, s = lowered.compile()(X, "s")
    np.testing.assert_array_equal(out, 2 * X)
    assert s == "s"
    with pytest.raises(TypeError, match="other arguments"):
        lowered.compile()(X, "t")


def test_errors():
    with pytest.raises(RuntimeError, match="keyword arguments cannot be used.*b"):
        ft.filter_pmap(multiply)(X, b=X)
    with pytest.raises(ValueError, match="static_broadcasted_argnums"):
        ft.filter_pmap(multiply, static_broadcasted_argnums=0)
    with pytest.raises(ValueError, match="must be one of 'all'"):
        ft.filter_pmap(multiply, donate="some")
    with pytest.raises(ValueError, match="gives the axis 0 to a non-array leaf: 1.0"):
        ft.filter_pmap(multiply, in_axes=0)(X, 1.0)
    with pytest.raises(ValueError, match="did not correspond to any argument"):
        ft.filter_pmap(multiply, in_axes={"q": 0})(X, X)
    with pytest.raises(TypeError, match="`filter_pmap` expects a function"):
        ft.filter_pmap(1)
