"""`ω`: arithmetic on trees, leaf by leaf."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms.extend import ω

X = jnp.array([1.0, 4.0, 2.0])
TREE = {"a": X, "b": (jnp.array(3.0), [X[::-1]])}
OTHER = jax.tree.map(lambda x: x + 1, TREE)


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


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
