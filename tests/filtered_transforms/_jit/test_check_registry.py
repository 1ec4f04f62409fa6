"""Run-time checks that libraries register: programs wait, failures are translated."""

from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import mlir

import filtered_transforms as ft

X = jnp.arange(3.0)


def test_a_program_without_checks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    waited: list[Any] = []
    monkeypatch.setattr("filtered_transforms._jit.filter_jit.wait", waited.append)
    x = jnp.ones((3, 3))
    of_arrays, mixed = ft.filter_jit(lambda x: x @ x), ft.filter_jit(lambda x, name: (x @ x, name))
    for _ in range(2):  # when it is compiled, and later
        assert (of_arrays(x) == 3).all()
        assert (mixed(x, "n")[0] == 3).all()
    assert waited == []


class _Failed(Exception):
    pass


def _make_check() -> Any:
    primitive = jax.extend.core.Primitive("test_check")
    primitive.def_abstract_eval(lambda x: x)
    primitive.def_impl(lambda x: x)
    mlir.register_lowering(primitive, mlir.lower_fun(lambda x: x + 1, multiple_results=False))
    return primitive


def test_programs_with_checks_are_found(monkeypatch: pytest.MonkeyPatch):
    check = _make_check()
    ft.extend.register_check(check, lambda error: None)
    waited: list[int] = []
    monkeypatch.setattr("filtered_transforms._jit.filter_jit.wait", lambda arrays: waited.append(1))
    inner = jax.jit(check.bind)
    inner(X)  # traced and cached before any outer function is
    with_check = {
        "direct": lambda x: check.bind(x),
        "inner": lambda x: inner(x) + 1,
        "scan": lambda x: jax.lax.scan(lambda c, _: (inner(c), None), x, None, length=2)[0],
        "cond": lambda x: jax.lax.cond(x[0] > 0, lambda: check.bind(x), lambda: x),
        "while": lambda x: jax.lax.while_loop(lambda c: c[0] < 2, check.bind, x),
        "remat": jax.checkpoint(check.bind),
    }
    for name, f in with_check.items():
        jitted = ft.filter_jit(f)
        for count in (1, 2):
            jitted(X)
            assert len(waited) == count, name
        waited.clear()
    plain = ft.filter_jit(lambda x, flag: check.bind(x) if flag else x)
    plain(X, False), plain(X, False)
    assert waited == []
    plain(X, True)
    assert waited == [1]


def test_a_failed_check_is_translated():
    def fail(x: np.ndarray) -> np.ndarray:
        raise ValueError("boom")

    ft.extend.register_check(
        _make_check(), lambda e: _Failed("ours") if "our own text" in str(e) else None
    )

    def ours(x: np.ndarray) -> np.ndarray:
        raise ValueError("our own text")

    with pytest.raises(_Failed, match="ours"):
        f = ft.filter_jit(lambda x: jax.pure_callback(ours, x, x))
        check = _make_check()
        ft.extend.register_check(check, lambda error: None)
        ft.filter_jit(lambda x: check.bind(f(x)))(X)
    with pytest.raises(jax.errors.JaxRuntimeError, match="boom"):
        jax.block_until_ready(ft.filter_jit(lambda x: jax.pure_callback(fail, x, x))(X))
