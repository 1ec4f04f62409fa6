"""`closure_to_pytree`: captured values become leaves."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import filtered_transforms as ft
from filtered_transforms import extend

X = jnp.array([1.0, 4.0, 2.0])


def equal(x: Any, y: Any) -> None:
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


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
