"""`on_error`, `checks(...)`, the environment variables; what is off leaves no trace."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from runtime_checks import EquinoxRuntimeError, check, checks, error_if

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1
JITS: dict[str, Callable[..., Any]] = {
    "filter_jit": filter_jit,
    "jit": jax.jit,
    "eager": lambda f: f,
}
ERRORS = (EquinoxRuntimeError, jax.errors.JaxRuntimeError)


def double(x: jax.Array) -> jax.Array:
    return error_if(x, x < 0, "negative") * 2


@pytest.mark.parametrize("jit", JITS)
def test_modes_change_and_are_found_again(jit: str):
    count = 0

    def f(x: jax.Array) -> jax.Array:
        nonlocal count
        count += 1
        return double(x)

    g = JITS[jit](f)
    for _ in range(2):
        with pytest.raises(ERRORS, match="negative"):
            jax.block_until_ready(g(BAD))
        with checks("off"):
            np.testing.assert_array_equal(g(BAD), BAD * 2)
            with checks("nan"):
                assert bool(jnp.isnan(g(BAD)).all())
                with checks("raise"), pytest.raises(ERRORS, match="negative"):
                    jax.block_until_ready(g(BAD))
            np.testing.assert_array_equal(g(BAD), BAD * 2)
        np.testing.assert_array_equal(g(GOOD), GOOD * 2)
    assert jit == "eager" or count <= 5  # each mode is traced once; `raise` said twice over is two


def test_inner_functions_follow_the_mode_around_them():
    inner = jax.jit(double)
    f = filter_jit(lambda x: inner(x) + 1)
    with pytest.raises(EquinoxRuntimeError):
        f(BAD)
    with checks("off"):
        np.testing.assert_array_equal(f(BAD), BAD * 2 + 1)
    with pytest.raises(EquinoxRuntimeError):
        f(BAD)


def test_off_first_and_on_later():
    f = filter_jit(double)
    with checks("off"):
        f(BAD)
    for _ in range(3):
        with pytest.raises(EquinoxRuntimeError, match="negative"):
            f(BAD)


# https://github.com/patrick-kidger/equinox/pull/1134
def test_off_is_the_program_without_the_check():
    def plain(x: jax.Array) -> jax.Array:
        return jnp.sin(x) * 2

    def checked(x: jax.Array) -> jax.Array:
        check(x < 0, "negative", x=x)
        return error_if(jnp.sin(x), x < 0, "negative") * 2

    checked.__name__ = "plain"
    with checks("off"):
        for jit in (filter_jit, jax.jit):
            a, b = (jit(f).lower(BAD) for f in (plain, checked))
            assert a.as_text() == b.as_text()
            assert a.compile().cost_analysis() == b.compile().cost_analysis()


def test_an_argument_goes_before_the_context():
    with checks("off"), pytest.raises(EquinoxRuntimeError):
        error_if(BAD, BAD < 0, "m", on_error="raise")
    with checks("nan"):
        np.testing.assert_array_equal(error_if(BAD, BAD < 0, "m", on_error="off"), BAD)
        assert check(BAD < 0, "m") is None


def test_the_environment_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EQX_ON_ERROR", "nan")
    assert bool(jnp.isnan(filter_jit(lambda x: double(x))(BAD)).all())
    with checks("raise"), pytest.raises(EquinoxRuntimeError):
        filter_jit(lambda x: double(x))(BAD)
    with checks("off"), checks("default"):
        assert bool(jnp.isnan(double(BAD)).all())
    monkeypatch.setenv("EQX_ON_ERROR", "off")
    np.testing.assert_array_equal(jax.jit(lambda x: double(x))(BAD), BAD * 2)


def test_wrong_modes():
    with pytest.raises(RuntimeError, match="Unrecognised value for `on_error`.*from `checks`"):
        checks("stop")


def test_a_mode_is_that_of_its_thread():
    seen: list[str] = []

    def work() -> None:
        try:
            double(BAD)
            seen.append("nothing")
        except EquinoxRuntimeError:
            seen.append("raised")

    with checks("off"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == ["raised"]


@pytest.mark.parametrize("jit", JITS)
def test_four_threads_each_get_their_own_message(jit: str):
    wrong: list[Any] = []

    def work(k: int) -> None:
        f = JITS[jit](lambda x: error_if(x, x < 0, f"message {k}") + 1)
        for i in range(10):
            x = BAD if i % 2 else GOOD
            try:
                jax.block_until_ready(f(x))
                if i % 2:
                    wrong.append((k, i))
            except ERRORS as error:
                if not i % 2 or f"message {k}" not in str(error):
                    wrong.append((k, i, str(error)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join(timeout=100) for t in threads]
    assert wrong == [] and not any(t.is_alive() for t in threads)


# https://github.com/patrick-kidger/equinox/commit/5c2b15d
# https://github.com/patrick-kidger/equinox/commit/3d950ea
@pytest.mark.parametrize("frames", ["1", "2"])
def test_the_debugger_opens_at_the_line_of_the_check(frames: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []

    def hook() -> None:
        frame = sys._getframe(1)
        seen.append((frame.f_code.co_filename, frame.f_lineno, dict(frame.f_locals)))
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename != __file__:
            caller = caller.f_back
        seen.append(None if caller is None else caller.f_code.co_name)

    monkeypatch.setattr("sys.breakpointhook", hook)
    monkeypatch.setenv("EQX_ON_ERROR", "breakpoint")
    monkeypatch.setenv("EQX_ON_ERROR_BREAKPOINT_FRAMES", frames)

    def inner(x: jax.Array, name: str) -> jax.Array:
        y = x * 10
        return error_if(x, y < 0, "negative") + y

    def outer(x: jax.Array) -> jax.Array:
        return inner(x, "a name")

    line = inner.__code__.co_firstlineno + 2
    for f in (outer, filter_jit(outer), filter_jit(jax.vmap(outer)), jax.jit(outer)):
        seen.clear()
        with pytest.raises(ERRORS, match="negative"):
            jax.block_until_ready(f(BAD))
        (file, at, variables), caller = seen
        assert (file, at, variables["name"]) == (__file__, line, "a name")
        np.testing.assert_array_equal(variables["y"], BAD * 10)
        if frames == "2":
            assert caller == "outer"


def test_the_debugger_has_whole_arrays_and_opens_once(monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []

    def hook() -> None:
        frame = sys._getframe(1)
        caller = frame.f_back
        assert caller is not None
        seen.append((dict(frame.f_locals), caller.f_code.co_name, dict(caller.f_locals)))

    monkeypatch.setattr("sys.breakpointhook", hook)
    monkeypatch.setenv("EQX_ON_ERROR_BREAKPOINT_FRAMES", "2")

    def inner(x: jax.Array) -> jax.Array:
        y = x * 10
        return error_if(x, y < 0, "negative")

    def outer(x: jax.Array) -> jax.Array:
        z = x + 1
        return inner(x) + 0 * z

    def loop(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (outer(c) - 1, None), x + 2, None, length=3)[0]

    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.PartitionSpec("d")
    x = jnp.array([-1.0, 1.0, 2.0, 3.0])
    sharded = jax.device_put(x, jax.sharding.NamedSharding(mesh, split))
    mapped = jax.shard_map(outer, mesh=mesh, in_specs=split, out_specs=split)
    programs = [
        (filter_jit(loop), x, x),
        (jax.jit(outer), sharded, x),
        (filter_jit(outer), sharded, x),
        (jax.jit(mapped), sharded, x[:2]),  # the shard that fails
    ]
    for f, given, expected in programs:
        seen.clear()
        with checks("breakpoint"), pytest.raises(EquinoxRuntimeError, match="negative"):
            jax.block_until_ready(f(given))
        with checks("breakpoint"):  # else JAX reports the failure once more at the next barrier
            jax.block_until_ready(f(jnp.abs(given) + 9))
        ((variables, name, above),) = seen
        np.testing.assert_array_equal(variables["y"], expected * 10)
        np.testing.assert_array_equal(above["z"], expected + 1)
        assert name == "outer"
