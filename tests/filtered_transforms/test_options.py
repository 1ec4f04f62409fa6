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
    """A loop of the family; or that of a library, which leaves the kind to its user."""
    run = getattr(module, "filter_while_loop", module.while_loop)
    given: Any = {"max_steps": 5} | options
    return run(lambda x: x < 9.0, lambda x: 2 * x, jnp.asarray(1.0), **given)


def sums(module: Any, **options: Any) -> Any:
    run = getattr(module, "filter_scan", module.scan)
    return run(lambda c, x: (c + x, x), jnp.asarray(0.0), X, **options)[0]


def ranged(upper: Any = 4, **options: Any) -> Any:
    return ft.filter_fori_loop(0, upper, lambda i, x: x + i, jnp.asarray(0), **options)


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
    "while no kind": (lambda: loop(ft, checkpoints=3), ValueError, 'pass kind="checkpointed"'),
    "while kind": (
        lambda: loop(ft, kind="quick"),
        ValueError,
        "`filter_while_loop`: unrecognised kind 'quick'; expected 'lax', 'bounded', 'checkpointed'",
    ),
    "while bounded": (
        lambda: loop(ft, kind="bounded", max_steps=None),
        ValueError,
        'kind="bounded" requires `max_steps`',
    ),
    "while checkpointed": (
        lambda: loop(ft, kind="checkpointed", max_steps=None),
        ValueError,
        "requires `max_steps` or a number of `checkpoints`",
    ),
    "while all": (
        lambda: loop(ft, kind="checkpointed", checkpoints="all", max_steps=None),
        ValueError,
        'checkpoints="all" of kind="checkpointed" requires `max_steps`',
    ),
    "while traced max_steps": (
        lambda: jax.jit(lambda n: loop(ft, kind="checkpointed", max_steps=n))(3),
        ValueError,
        "A traced `max_steps` does not tell",
    ),
    "while negative": (lambda: loop(ft, max_steps=-1), ValueError, "non-negative integer, got -1"),
    "while none kept": (
        lambda: loop(ft, kind="checkpointed", checkpoints=0),
        ValueError,
        "at least one checkpoint, got 0",
    ),
    "fori checkpoints": (lambda: ranged(checkpoints=3), ValueError, "use for `checkpoints`"),
    "fori negative": (lambda: ranged(max_steps=-1), ValueError, "got -1"),
    "fori traced, bounded": (
        lambda: jax.jit(lambda n: ranged(n, kind="bounded"))(3),
        ValueError,
        'kind="bounded" requires `max_steps`',
    ),
    "fori unrolled, checkpointed": (
        lambda: ranged(kind="checkpointed", unroll=2),
        ValueError,
        "no use for `unroll`, got unroll=2",
    ),
    "fori unrolled, bounded": (
        lambda: ranged(kind="bounded", unroll=True),
        ValueError,
        "got unroll=True. It needs a range that is not traced",
    ),
    "fori float": (
        lambda: ranged(2.5, kind="checkpointed", checkpoints=2),
        TypeError,
        "`upper` must be an integer, got an array float32",
    ),
    "fori two types": (
        lambda: jax.jit(
            lambda a, b: ft.filter_fori_loop(a, b, named, X, kind="checkpointed", checkpoints=2)
        )(jnp.int8(0), jnp.int32(3)),
        TypeError,
        "must be of one type, got int8 and int32",
    ),
    "scan unrolled": (
        lambda: sums(ft, kind="checkpointed", unroll=True),
        ValueError,
        "no use for `unroll`, got unroll=True",
    ),
    "scan split": (
        lambda: sums(ft, kind="checkpointed", _split_transpose=True),
        ValueError,
        "no use for `_split_transpose`",
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
