"""What else libraries take from `extend`: tree arithmetic, closures as trees, neighbours, keys."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from filtered_transforms import extend
from filtered_transforms.extend import ω

X = jnp.array([1.0, 4.0, 2.0])
TREE = {"a": X, "b": (jnp.array(3.0), [X[::-1]])}
OTHER = jax.tree.map(lambda x: x + 1, TREE)


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


# --- ω

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
COMPARISONS = ["lt", "le", "eq", "ne", "gt", "ge"]
BITS = ["and_", "or_", "xor", "lshift", "rshift"]


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS + BITS)
def test_operators_go_leaf_by_leaf(name: str):
    f = getattr(operator, name)
    convert = (lambda x: x.astype(int)) if name in BITS else (lambda x: x)
    a, b = jax.tree.map(convert, TREE), jax.tree.map(convert, OTHER)
    equal(f(ω(a), ω(b)).ω, jax.tree.map(f, a, b))
    equal(f(a**ω, b**ω).ω, jax.tree.map(f, a, b))
    for one in (2, np.int32(2), jnp.array(2)) if name in BITS else (2.0, np.float32(2), X[2]):
        equal(f(ω(a), one).ω, jax.tree.map(lambda x, one=one: f(x, one), a))
        equal(f(one, ω(a)).ω, jax.tree.map(lambda x, one=one: f(one, x), a))


@pytest.mark.parametrize("f", [operator.neg, operator.pos, abs])
def test_operators_of_one(f: Any):
    equal(f(ω(TREE)).ω, jax.tree.map(f, TREE))
    equal((~ω({"a": X > 1})).ω, {"a": X <= 1})


def test_matrices_functions_and_indices():
    matrices, vectors = {"m": jnp.eye(2) * 2}, {"m": jnp.ones(2)}
    equal((matrices**ω @ vectors**ω).ω, {"m": jnp.full(2, 2.0)})
    equal(ω(TREE).call(jnp.sin).ω, jax.tree.map(jnp.sin, TREE))
    equal(ω([X, X * 2])[1].ω, [X[1], X[1] * 2])
    equal(ω([X]).at[1].set(7.0).ω, [X.at[1].set(7.0)])
    equal(ω([X]).at[:2].add(ω([X[:2]])).ω, [X.at[:2].add(X[:2])])
    equal(ω([X]).at[0].multiply(3.0).ω, [X.at[0].multiply(3.0)])


def test_leaves_of_omega_may_be_trees():
    pairs = [(1.0, 2.0), (3.0, 4.0)]
    is_pair = lambda x: isinstance(x, tuple)  # noqa: E731 (one object for both)
    swapped = ω(pairs, is_pair).call(lambda pair: pair[::-1])
    assert swapped.ω == [(2.0, 1.0), (4.0, 3.0)] and swapped.is_leaf is is_pair
    assert (ω(pairs, is_pair) + ω(pairs, is_pair)).ω == [(1.0, 2.0) * 2, (3.0, 4.0) * 2]
    with pytest.raises(ValueError, match="`is_leaf` must match"):
        ω(pairs, is_pair) + ω(pairs)


def is_a(kind: type) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, kind)


class IsA:
    def __init__(self, kind: type):
        self.kind = kind

    def __call__(self, x: Any) -> bool:
        return isinstance(x, self.kind)

    def method(self, x: Any) -> bool:
        return isinstance(x, self.kind)


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda x: isinstance(x, tuple),
        lambda: is_a(tuple),
        lambda: functools.partial(lambda kind, x: isinstance(x, kind), tuple),
        lambda: IsA(tuple),
        lambda: IsA(tuple).method,
    ],
    ids=["lambda", "closure", "partial", "instance", "method"],
)
def test_leaves_by_functions_that_are_written_alike(make: Any):
    pairs = [(1.0, 2.0), (3.0, 4.0)]
    first, second = make(), make()
    assert first is not second
    assert (ω(pairs, first) + ω(pairs, second)).ω == [(1.0, 2.0) * 2, (3.0, 4.0) * 2]


def test_leaves_by_functions_that_are_written_elsewhere():
    here = lambda x: isinstance(x, tuple)  # noqa: E731
    there = lambda y: isinstance(y, tuple)  # noqa: E731 (another line, another name)
    assert (ω([(1, 2)], here) + ω([(3,)], there)).ω == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (is_a(tuple), None, "`is_leaf` must match"),
        (None, is_a(tuple), "`is_leaf` must match"),
        (is_a(tuple), lambda x: False, "`is_leaf` must match"),
        (lambda x: isinstance(x, tuple), lambda x: isinstance(x, list), "`is_leaf` must match"),
        (callable, all, "`is_leaf` must match"),
        # Of the same code: what they closed over shows in the trees.
        (is_a(tuple), is_a(dict), "structures must match"),
    ],
)
def test_leaves_by_functions_that_differ(first: Any, second: Any, message: str):
    with pytest.raises(ValueError, match=message):
        ω([(1.0, 2.0)], first) + ω([(1.0, 2.0)], second)


def test_wrong_operands_of_omega():
    with pytest.raises(ValueError, match="structures must match"):
        ω(TREE) + ω([X])
    with pytest.raises(RuntimeError, match=r"got a dict.*Write `ω\(...\)`"):
        ω(TREE) + TREE
    assert repr(ω(1)) == "ω(1)"


# --- closures

COUNTS: list[str] = []


def scaled_by(factor: Any, shift: float = 1.0) -> Callable[[Any], Any]:
    def inner(x: Any) -> Any:
        return factor * x

    def scaled(x: Any, *, power: int = 2) -> Any:
        COUNTS.append("traced")
        return inner(x) ** power + shift

    return scaled


def test_captured_values_are_leaves():
    f = extend.closure_to_pytree(scaled_by(X))
    equal(jax.tree.leaves(f), [X, 1.0])
    equal(f(2.0), (2 * X) ** 2 + 1)
    equal(f(2.0, power=3), (2 * X) ** 3 + 1)
    equal(jax.tree.map(lambda leaf: 2 * leaf, f)(1.0), (2 * X) ** 2 + 2)
    gradient = ft.filter_grad(lambda f: f(1.0).sum())(f)
    equal(jax.tree.leaves(gradient), [2 * X])


def test_equal_closures_share_a_trace():
    COUNTS.clear()
    call = ft.filter_jit(lambda f, x: f(x))
    for factor in (1.0, 2.0, 3.0):
        f = extend.closure_to_pytree({"f": scaled_by(factor * X), "n": 1})["f"]
        equal(call(f, 2.0), (factor * X * 2.0) ** 2 + 1)
    assert COUNTS == ["traced"]


def test_what_is_no_local_function_stays():
    def recursive(n: int) -> int:
        return 1 if n == 0 else n * recursive(n - 1)

    tree = {"global": scaled_by, "builtin": len, "recursive": recursive, "jnp": jnp.sin}
    out = extend.closure_to_pytree(tree)
    assert out == tree and out["recursive"](3) == 6


# --- trials


def test_shapes_are_evaluated_once():
    seen: list[Any] = []

    def f(x: Any, n: int, *, flag: bool) -> Any:
        seen.append((x.shape, n))
        return {"y": jnp.zeros((n, *x.shape)), "flag": flag}

    for x in (X, X + 1, jax.ShapeDtypeStruct((3,), jnp.float32)):
        out = extend.cached_filter_eval_shape(f, x, 2, flag=True)
        assert out == {"y": jax.ShapeDtypeStruct((2, 3), jnp.float32), "flag": True}
    assert len(seen) == 1
    extend.cached_filter_eval_shape(f, X, 3, flag=True)
    extend.cached_filter_eval_shape(f, X[:2], 3, flag=True)
    assert len(seen) == 3
    unhashable = extend.cached_filter_eval_shape(lambda x, s: x, X, {1})
    assert unhashable == jax.ShapeDtypeStruct((3,), jnp.float32)
    with pytest.raises(TypeError, match="unhashable"):
        extend.cached_filter_eval_shape(lambda x: {[]: x}, X)


def test_an_error_of_the_function_is_its_own():
    # Whatever its text says: it is not the arguments that have no hash.
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        raise TypeError("unhashable type: 'dict'")

    with pytest.raises(TypeError, match="unhashable type: 'dict'"):
        extend.cached_filter_eval_shape(f, jnp.ones(3))
    assert len(calls) == 1
    for _ in range(2):  # these have none
        shape = extend.cached_filter_eval_shape(lambda x, _: x, jnp.ones(3), {1, 2}).shape
        assert shape == (3,)


def test_values_that_mean_nothing():
    def never(x: Any) -> Any:
        return {"y": x * jnp.nan, "n": jnp.arange(2), "name": "s", "b": x > 0}

    zeros = extend.eval_zero(never, X)
    assert zeros["name"] == "s"
    equal((zeros["y"], zeros["n"], zeros["b"]), (jnp.zeros(3), jnp.zeros(2, int), X < 0))
    empty = extend.eval_empty(lambda: never(X))
    assert jax.tree.map(lambda x: getattr(x, "dtype", None), empty) == jax.tree.map(
        lambda x: getattr(x, "dtype", None), zeros
    )


@given(st.integers(0, 4))
def test_the_scan_trick_is_composition(count: int):
    def f(carry: Any) -> Any:
        x, n = carry
        return jnp.sin(x) * 2, n + 1

    between = [lambda c, i=i: (c[0] + i, c[1] * 2) for i in range(count)]
    expected = f((X, jnp.array(1)))
    for g in between:
        expected = f(g(expected))
    out = extend.scan_trick(f, between, (X, jnp.array(1)))
    np.testing.assert_allclose(out[0], expected[0], rtol=1e-6)
    assert out[1] == expected[1]


def test_the_scan_trick_traces_once_and_has_derivatives():
    traced: list[int] = []

    def f(x: Any) -> Any:
        traced.append(1)
        return jnp.sin(x)

    def run(x: Any) -> Any:
        return extend.scan_trick(f, [lambda x: x * 2, lambda x: x + 1], x).sum()

    jax.jit(run)(X)
    assert len(traced) == 1
    by_hand = jax.grad(lambda x: jnp.sin(jnp.sin(jnp.sin(x) * 2) + 1).sum())(X)
    np.testing.assert_allclose(jax.grad(run)(X), by_hand, rtol=1e-5)


# --- numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
@pytest.mark.parametrize("jitted", [False, True])
def test_neighbours_are_those_of_numpy(dtype: Any, jitted: bool):
    stage = jax.jit if jitted else lambda f: f
    info = jnp.finfo(dtype)
    values = [1.0, -1.0, 3.5, -1e-3, float(info.max), float(info.min), np.inf, -np.inf, np.nan]
    x = np.asarray(values, dtype)
    for f, towards in ((extend.nextafter, np.inf), (extend.prevbefore, -np.inf)):
        out = stage(f)(jnp.asarray(x))
        assert out.dtype == dtype
        with np.errstate(over="ignore"):
            expected = np.nextafter(x, np.asarray(towards, dtype))
        # As bfloat16 NumPy does not know that NaN is NaN.
        np.testing.assert_array_equal(np.asarray(out, np.float32), expected.astype(np.float32))
        zero = stage(f)(jnp.zeros((), dtype))
        assert float(zero) == np.copysign(float(info.tiny), towards)
        assert jax.grad(f)(jnp.ones((), dtype)) == 1


def test_neighbours_in_double_and_of_integers():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        assert extend.nextafter(1.0) == np.nextafter(1.0, 2.0)
        assert extend.prevbefore(np.float64(1.0)) == np.nextafter(1.0, 0.0)
    with pytest.raises(ValueError, match="int32 not inexact"):
        extend.nextafter(jnp.arange(2))


@given(st.lists(st.integers(1, 3), min_size=0, max_size=3), st.integers(0, 2))
def test_broadcasting_from_the_left(shape: list[int], more: int):
    arr = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    target = (*shape, *(2, 3)[:more])
    expected = np.broadcast_to(arr.reshape((*shape, *[1] * more)), target)
    np.testing.assert_array_equal(extend.left_broadcast_to(jnp.asarray(arr), target), expected)


def test_broadcasting_what_does_not_fit():
    with pytest.raises(ValueError, match="broadcast"):
        extend.left_broadcast_to(jnp.arange(2), (3, 2))


@pytest.mark.parametrize("x64", [False, True])
def test_default_dtype(x64: bool):
    with jax.enable_x64(x64) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(x64):
        dtype = extend.default_floating_dtype()
        assert dtype is (jnp.float64 if x64 else jnp.float32)
        assert jnp.zeros(2).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", np.nan),
        (jnp.bfloat16, np.nan),
        ("complex64", np.nan),
        ("int8", 127),
        ("uint16", 65535),
        ("bool", True),
    ],
)
def test_nan_or_what_comes_next_to_it(dtype: Any, expected: Any):
    for x in (jnp.zeros((2, 3), dtype), np.zeros((2, 3), dtype)):
        found = extend.nan_like(x)
        assert found.dtype == x.dtype
        # As bfloat16 NumPy does not know that NaN is NaN.
        found = found.astype("complex64")
        np.testing.assert_array_equal(found.real, np.full((2, 3), expected, "float32"))


# --- tokens and keys


def test_a_token_is_itself_wherever_it_goes():
    token, other = extend.str2jax("token"), extend.str2jax("token")
    assert str(token) == repr(token) == "token" and token != other
    out, n = jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (c[0], c[1] + 1), (token, 0))
    assert out == token and n == 3
    assert {token: 1}[jax.jit(lambda t: t)(token)] == 1


def test_keys_are_new_each_time_and_known_by_seed():
    getkey, again = extend.GetKey(3), extend.GetKey(3)
    keys = np.stack([getkey() for _ in range(5)])
    np.testing.assert_array_equal(keys, np.stack([again() for _ in range(5)]))
    assert len(np.unique(keys, axis=0)) == 5
    assert extend.GetKey().seed != extend.GetKey().seed
    assert extend.doc_repr(keys, "keys") is keys
    assert extend.doc_remove_args("x")(scaled_by) is scaled_by
