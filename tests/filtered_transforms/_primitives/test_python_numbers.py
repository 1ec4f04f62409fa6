"""Python numbers go through identities and functions with rules of their own as they are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import filtered_transforms as ft

X = jnp.array(2.5)
SEEN: list[Any] = []  # what the rules below were given for the number, and as its derivative


@ft.filter_custom_jvp
def of_jvp(x: Any, n: Any) -> Any:
    return x, n


@of_jvp.def_jvp
def _(primals: Any, tangents: Any) -> Any:
    SEEN.append((primals[1], tangents[1]))
    return primals, tangents


@ft.filter_custom_vjp
def of_vjp(x: Any, n: Any) -> Any:
    return x, n


@of_vjp.def_fwd
def _(perturbed: Any, x: Any, n: Any) -> Any:
    SEEN.append((n, None))
    return (x, n), n


@of_vjp.def_bwd
def _(n_kept: Any, grad: Any, perturbed: Any, x: Any, n: Any) -> Any:
    SEEN.extend([(n, grad[1]), (n_kept, None)])
    return grad[0]


@ft.filter_custom_vjp
def of_vjp_first(pair: Any) -> Any:
    return pair


@of_vjp_first.def_fwd
def _(perturbed: Any, pair: Any) -> Any:
    assert perturbed == (True, False)
    SEEN.append((pair[1], None))
    return pair, pair[1]


@of_vjp_first.def_bwd
def _(n_kept: Any, grad: Any, perturbed: Any, pair: Any) -> Any:
    SEEN.extend([(pair[1], grad[1]), (n_kept, None)])
    return grad


IDENTITIES: dict[str, Callable[[Any], Any]] = {
    name: getattr(ft.extend, name)
    for name in ("nonbatchable", "nontraceable", "nondifferentiable", "nondifferentiable_backward")
}
PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "custom_jvp": of_jvp,
    "custom_vjp": of_vjp,
    "custom_vjp, in its first argument": lambda x, n: of_vjp_first((x, n)),
} | {name: lambda x, n, f=f: (x, f(n)) for name, f in IDENTITIES.items()}


def _grad_of_another(f: Any, n: Any) -> Any:
    found: list[Any] = []

    def run(x: Any) -> Any:
        x, kept = f(x, n)
        found.append(kept)
        return x

    assert jax.grad(run)(X) == 1
    return found[0]


# The number in the result of a function of an array and a number, transformed.
WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "plain": lambda f, n: f(X, n)[1],
    "filter_jvp": lambda f, n: ft.filter_jvp(f, (X, n), (X, None))[0][1],
    "tangent": lambda f, n: ft.filter_jvp(f, (X, n), (X, None))[1][1],
    "grad of another": lambda f, n: _grad_of_another(f, n),
    "filter_grad": lambda f, n: ft.filter_grad(f, has_aux=True)(X, n)[1],
    "filter_jit": lambda f, n: ft.filter_jit(f)(X, n)[1],
    "filter_grad, jitted": lambda f, n: ft.filter_jit(ft.filter_grad(f, has_aux=True))(X, n)[1],
    "filter_vmap": lambda f, n: ft.filter_vmap(f, in_axes=(0, None), out_axes=(0, None))(
        X[None], n
    )[1],
}


def test_python_numbers_stay_so_where_nothing_is_traced() -> None:
    for number in (1.0, 2, True, 1j):
        for pair in PAIRS.values():
            assert all(one is number for one in pair(number, number))


@pytest.mark.parametrize("number", [1.5, 2, True, 1j], ids=repr)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", PAIRS)
def test_python_numbers_beside_what_is_traced(function: str, way: str, number: Any) -> None:
    # All as Equinox 0.13.8 has it, but that of `filter_custom_jvp` in `filter_jit`: an array there.
    SEEN.clear()
    if "custom_vjp" in function and way in ("filter_jvp", "tangent"):
        with pytest.raises(TypeError, match="forward-mode"):
            WAYS[way](PAIRS[function], number)
        return
    found = WAYS[way](PAIRS[function], number)
    expected = None if way == "tangent" else number
    assert type(found) is type(expected) and found == expected
    for given, derivative in SEEN:
        assert type(given) is type(number) and given == number and derivative is None
    is_derivative = way in ("filter_jvp", "tangent") or "grad" in way
    assert bool(SEEN) == (is_derivative and "custom" in function)
