"""An option that a call has no use for is an error, and so is one that contradicts another."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from filtered_transforms import extend

X = jnp.arange(3.0)


def named(x: Any, y: Any = None) -> Any:
    return x


def loop(module: Any, **options: Any) -> Any:
    return module.while_loop(lambda x: x < 9.0, lambda x: 2 * x, 1.0, max_steps=5, **options)


def sums(module: Any, **options: Any) -> Any:
    return module.scan(lambda c, x: (c + x, x), 0.0, X, **options)[0]


def none(**options: Any) -> Any:
    return ft.filter_vmap(lambda x: x, in_axes=None, out_axes=None, **options)(X)


def hidden(*args: Any) -> Any:
    raise AssertionError("called")


# What is called, the error, and what that says. Functions that are wrapped are not called here:
# what is wrong with their options alone is said when they are wrapped.
Case = tuple[Callable[[], Any], type[Exception], str]
REFUSED: dict[str, Case] = {
    "while lax checkpoints": (
        lambda: loop(ft, kind="lax", checkpoints=3),
        ValueError,
        "only kind=\"checkpointed\" has a use for `checkpoints`, got checkpoints=3 with kind='lax'",
    ),
    "while bounded checkpoints": (
        lambda: loop(ft, kind="bounded", checkpoints=3),
        ValueError,
        "use for `checkpoints`",
    ),
    "while lax base": (lambda: loop(ft, kind="lax", base=4), ValueError, "use for `base`"),
    "while checkpointed base": (
        lambda: loop(ft, kind="checkpointed", base=4),
        ValueError,
        "use for `base`",
    ),
    "scan lax": (lambda: sums(ft, kind="lax", checkpoints="all"), ValueError, "checkpoints='all'"),
    "scan bounded": (lambda: sums(ft, kind="bounded", checkpoints=2), ValueError, "checkpoints=2"),
    "vmap name": (lambda: none(axis_name="i"), ValueError, "nothing is mapped that could bear"),
    "vmap spmd name": (lambda: none(spmd_axis_name="i"), ValueError, "nothing is mapped"),
    "vmap size": (lambda: ft.filter_vmap(named, axis_size=7)(X), ValueError, "axis_size"),
    "vmap in_axes": (
        lambda: ft.filter_vmap(named, in_axes={"q": 0})(X),
        ValueError,
        "did not correspond to any argument: .'q'",
    ),
    "vmap unknown": (lambda: ft.filter_vmap(hidden, foo=1), TypeError, "foo"),
    "pmap unknown": (lambda: ft.filter_pmap(hidden, foo=1), TypeError, "foo"),
    "pmap static": (
        lambda: ft.filter_pmap(hidden, static_broadcasted_argnums=0),
        ValueError,
        "static_broadcasted_argnums",
    ),
    "pmap size": (lambda: ft.filter_pmap(named, axis_size=2)(X[:1]), ValueError, "axis_size"),
    "pmap donate": (
        lambda: ft.filter_pmap(named, donate=("q",)),
        ValueError,
        "'q', which the function has no parameter for; it has 'x', 'y'",
    ),
    "jit donate": (lambda: ft.filter_jit(named, donate=("x", "q")), ValueError, "'q'"),
    "jit donate, a method": (
        lambda: type("M", (), {"f": ft.filter_jit(donate=("q",))(lambda self, x: x)}),
        ValueError,
        "it has 'self', 'x'",
    ),
    "jit unknown": (lambda: ft.filter_jit(hidden, foo=1), TypeError, "foo"),
    "jit static": (lambda: ft.filter_jit(hidden, static_argnums=0), ValueError, "static_argnums"),
    "grad argnums": (lambda: ft.filter_grad(hidden, argnums=1), ValueError, "argnums"),
    "grad unknown": (lambda: ft.filter_grad(hidden, foo=1), TypeError, "foo"),
    "grad of nothing": (lambda: ft.filter_grad(jnp.sum, wrt=False)(X), TypeError, "wrt=False"),
    "jacobian argnums": (lambda: ft.filter_jacfwd(hidden, argnums=1), TypeError, "argnums"),
    "checkpoint policy": (
        lambda: ft.filter_checkpoint(hidden, policy="dots_saveable"),
        TypeError,
        "`policy` must be a function",
    ),
    "checkpoint unknown": (lambda: ft.filter_checkpoint(hidden, concrete=True), TypeError, "concr"),
    "map batches": (lambda: ft.filter_map(named, X, batch_size=0), ValueError, "at least 1, got 0"),
    "map negative": (lambda: ft.filter_map(named, X, batch_size=-1), ValueError, "got -1"),
    "scan length": (
        lambda: ft.filter_scan(lambda c, x: (c, x), 0, X, length=4),
        ValueError,
        "length",
    ),
    "fori unroll": (
        lambda: jax.jit(lambda n: ft.filter_fori_loop(0, n, named, X, unroll=2))(3),
        ValueError,
        "unroll",
    ),
    "cond operand": (
        lambda: ft.filter_cond(True, named, named, X, operand=X),
        TypeError,
        "not both",
    ),
    "switch operand": (lambda: ft.filter_switch(0, [named], X, operand=X), TypeError, "not both"),
    "callback": (
        lambda: ft.filter_pure_callback(
            named, X, result_shape_dtypes=X, vectorized=True, vmap_method="sequential"
        ),
        ValueError,
        "give one of them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_without_use_is_an_error(name: str):
    call, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        call()


# Seen from Equinox 0.13.8, which accepts them; released libraries pass them with any kind.
@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_loops_for_libraries_pass_over_what_their_kind_has_no_use_for(kind: Any):
    assert loop(extend, kind=kind, checkpoints=5, base=5) == loop(ft, kind=kind) == 16
    for checkpoints in (2, "all"):
        assert sums(extend, kind=kind, checkpoints=checkpoints) == sums(ft, kind=kind) == 3


def test_what_a_kind_has_a_use_for_is_passed_on():
    with pytest.raises(ValueError, match="at least one checkpoint"):
        loop(extend, kind="checkpointed", checkpoints=0)
    with pytest.raises(ValueError, match="at least one checkpoint"):
        sums(extend, kind="checkpointed", checkpoints=0)
    for module in (ft, extend):
        gradient = jax.grad(
            lambda x, module=module: module.while_loop(
                lambda c: c[0] < 4,
                lambda c: (c[0] + 1, c[1] * x),
                (0, x),
                max_steps=6,
                kind="bounded",
                base=2,
            )[1]
        )
        assert gradient(2.0) == 5 * 2.0**4
        buffers = functools.partial(
            module.scan,
            lambda c, x: (c.at[0].set(x), x),
            jnp.zeros(1),
            X[:1],
            buffers=lambda c: c,
            kind="lax",
        )
        np.testing.assert_array_equal(buffers()[0], X[:1])
