"""`error_if`: an exception wherever the check stands, and none where it passes."""

import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_grad, filter_jit, filter_vmap
from runtime_checks import EquinoxRuntimeError, EquinoxTracetimeError, error_if

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1
TEXT = "negative input"


def check(x: jax.Array) -> jax.Array:
    return error_if(x, x < 0, TEXT)


def root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(check(x) + 1)


inner = jax.jit(root)

PROGRAMS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "plain": root,
    "inner jit": lambda x: inner(x) * 2,
    "inner filter_jit": lambda x: filter_jit(root)(x) * 2,
    "vmap": lambda x: jax.vmap(root)(x),
    "filter_vmap": lambda x: filter_vmap(root)(x),
    "two vmaps": lambda x: jax.vmap(jax.vmap(root))(x[None]),
    "grad": lambda x: jax.grad(lambda x: root(x).sum())(x),
    "filter_grad": lambda x: filter_grad(lambda x: root(x).sum())(x),
    "jvp": lambda x: jax.jvp(root, (x,), (x,))[0],
    "scan": lambda x: jax.lax.scan(lambda c, _: (root(c) + x, None), x, None, length=3)[0],
    "while": lambda x: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: check(c) + 1, x),
    "cond": lambda x: jax.lax.cond(x[1] < 5, root, lambda x: x, x),
    "checkpoint": lambda x: jax.grad(lambda x: jax.checkpoint(root)(x).sum())(x),
    "map": lambda x: jax.lax.map(root, x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_under_filter_jit(name: str):
    f = filter_jit(PROGRAMS[name])
    expected = PROGRAMS[name](GOOD)
    for _ in range(2):  # failing calls after successful ones, and the other way round
        np.testing.assert_allclose(f(GOOD), expected, rtol=1e-6)
        with pytest.raises(EquinoxRuntimeError, match=TEXT) as caught:
            f(BAD)
        assert caught.value.message == TEXT and type(caught.value) is EquinoxRuntimeError
        assert __file__ in caught.value.check_location and __file__ in str(caught.value)


@pytest.mark.parametrize("name", PROGRAMS)
def test_under_plain_jit(name: str):
    # JAX raises an exception of its own; it is an instance of ours, and leads to it.
    f = jax.jit(PROGRAMS[name])
    for _ in range(2):
        np.testing.assert_allclose(f(GOOD), PROGRAMS[name](GOOD), rtol=1e-6)
        for _ in range(2):
            with pytest.raises(EquinoxRuntimeError, match=TEXT) as caught:
                jax.block_until_ready(f(BAD))
            cause = EquinoxRuntimeError.of(caught.value)
            assert cause is not None and cause.message == TEXT and __file__ in cause.check_location


@pytest.mark.parametrize("name", PROGRAMS)
def test_eagerly(name: str):
    # Loops compile, and then the exception is JAX's.
    with pytest.raises(EquinoxRuntimeError, match=TEXT):
        jax.block_until_ready(PROGRAMS[name](BAD))
    with jax.disable_jit(), pytest.raises(EquinoxRuntimeError, match=TEXT):
        PROGRAMS[name](BAD)


# https://github.com/patrick-kidger/equinox/pull/1229
def test_which_element_failed():
    x = jnp.array([1.0, -1.0, 2.0, -1.0, -1.0, -1.0])
    for f in (filter_jit(jax.vmap(root)), jax.vmap(root), check):
        with pytest.raises(
            EquinoxRuntimeError, match=r"for 4 of 6 elements, at 1, 3, 4, \.\.\."
        ) as e:
            f(x)
        assert e.value.index == ((1,), (3,), (4,))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    with pytest.raises(EquinoxRuntimeError):
        filter_jit(root)(BAD)
    assert capfd.readouterr() == ("", "") and caplog.records == []


def test_the_process_goes_on_after_a_failure():
    f = filter_jit(lambda x, y: (root(x), y * 2))
    for _ in range(20):
        with pytest.raises(EquinoxRuntimeError):
            f(BAD, GOOD)
        np.testing.assert_array_equal(f(GOOD, GOOD)[1], GOOD * 2)


def test_each_thread_gets_its_own_message():
    wrong: list[Any] = []

    def work(k: int) -> None:
        f = filter_jit(lambda x: error_if(x, x < 0, f"message {k}"))
        for _ in range(10):
            try:
                f(BAD)
                wrong.append(k)
            except EquinoxRuntimeError as error:
                if error.message != f"message {k}":
                    wrong.append((k, error.message))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert wrong == []


@pytest.mark.parametrize("pred", [True, np.bool_(True), np.array([False, True]), 1])
def test_known_while_tracing(pred: Any):
    for f in (lambda x: error_if(x, pred, TEXT), jax.jit(lambda x: error_if(x, pred, TEXT))):
        with pytest.raises(EquinoxTracetimeError, match=TEXT):
            f(GOOD)
    assert issubclass(EquinoxTracetimeError, EquinoxRuntimeError)
    assert issubclass(EquinoxRuntimeError, jax.errors.JaxRuntimeError)


def test_other_errors_are_no_failed_checks():
    for other in (jax.errors.JaxRuntimeError("out of memory"), ValueError(TEXT), KeyError(1), None):
        assert not isinstance(other, EquinoxRuntimeError)
    own = EquinoxRuntimeError(TEXT)
    assert isinstance(own, EquinoxRuntimeError) and not isinstance(own, EquinoxTracetimeError)
    assert EquinoxRuntimeError.of(own) is own
    mark = f"[failed check {'0' * 32}]"
    for kind in (ValueError, jax.errors.JaxRuntimeError):
        for text in ("[failed check]", "see [failed check 3]", mark):
            assert not isinstance(kind(text), EquinoxRuntimeError)
            assert EquinoxRuntimeError.of(kind(text)) is None


class OwnError(jax.errors.JaxRuntimeError):
    pass


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, OwnError])
def test_the_text_of_a_failed_check_makes_no_failed_check(kind: type[Exception]):
    with pytest.raises(EquinoxRuntimeError) as caught:
        jax.block_until_ready(jax.jit(check)(BAD))
    copies = [kind(str(caught.value))]
    for cause in (caught.value, None):
        with pytest.raises(kind) as again:
            raise kind(f"the solver has failed: {caught.value}") from cause
        copies.append(again.value)

    @filter_jit
    def raises(x: jax.Array) -> jax.Array:
        raise kind(str(caught.value))

    with pytest.raises(kind) as again:  # while it is traced: no program has failed
        raises(GOOD)
    for copy in (*copies, again.value):
        assert not isinstance(copy, EquinoxRuntimeError)
        assert EquinoxRuntimeError.of(copy) is None


def test_a_text_with_that_of_another_failure():
    with pytest.raises(EquinoxRuntimeError) as first:
        jax.block_until_ready(jax.jit(check)(BAD))
    told = f"before: {first.value}"
    with pytest.raises(EquinoxRuntimeError) as second:
        jax.block_until_ready(jax.jit(lambda x: error_if(x, x < 0, told))(BAD))
    found = [EquinoxRuntimeError.of(error.value) for error in (first, second)]
    assert [error and error.message for error in found] == [TEXT, told]


def test_failures_long_ago_are_forgotten():
    f = jax.jit(check)

    def fail() -> Exception:
        with pytest.raises(EquinoxRuntimeError) as caught:
            jax.block_until_ready(f(BAD))
        return caught.value

    first, *_, last = [fail() for _ in range(130)]
    assert EquinoxRuntimeError.of(first) is None and not isinstance(first, EquinoxRuntimeError)
    assert isinstance(last, EquinoxRuntimeError)


@pytest.mark.parametrize("pred", [False, np.False_, np.zeros(2, bool), 0])
def test_passes_while_tracing(pred: Any):
    assert error_if(GOOD, pred, TEXT) is GOOD and error_if("no array", pred, TEXT) == "no array"


def test_any_tree_goes_through():
    key = jax.random.key(0)
    tree = {"a": [GOOD, 1, "text"], "key": key, "n": np.arange(2)}
    for f in (error_if, filter_jit(error_if)):
        out = f(tree, jnp.array(False), TEXT)
        assert out["a"][1:] == [1, "text"] and bool((out["key"] == key).all())
        np.testing.assert_array_equal(out["n"], np.arange(2))
    with pytest.raises(EquinoxRuntimeError, match=TEXT):
        filter_jit(error_if)(tree, jnp.array([False, True]), TEXT)


def test_gradients_are_those_without_the_check():
    for f in (jax.grad, filter_grad):
        expected = f(lambda x: (x**3).sum())(GOOD)
        np.testing.assert_array_equal(f(lambda x: (check(x) ** 3).sum())(GOOD), expected)
    hessian = jax.hessian(lambda x: (check(x) ** 3).sum())(GOOD)
    np.testing.assert_array_equal(hessian, jax.hessian(lambda x: (x**3).sum())(GOOD))


def test_off_leaves_the_program_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def off(x: jax.Array) -> jax.Array:
        return error_if(x, x < 0, TEXT, on_error="off") * 2

    plain = jax.jit(lambda x: x * 2).lower(BAD).as_text()
    assert jax.jit(off).lower(BAD).as_text().replace("jit_off", "jit__lambda") == plain
    monkeypatch.setenv("EQX_ON_ERROR", "off")
    np.testing.assert_array_equal(check(BAD), BAD)


def test_nan(monkeypatch: pytest.MonkeyPatch):
    tree = (BAD, jnp.arange(2), "text")
    for f in (error_if, filter_jit(error_if)):
        x, n, text = f(tree, jnp.array(True), TEXT, on_error="nan")
        assert bool(jnp.isnan(x).all()) and text == "text"
        np.testing.assert_array_equal(n, np.arange(2))
        np.testing.assert_array_equal(f(tree, jnp.array(False), TEXT, on_error="nan")[0], BAD)
    monkeypatch.setenv("EQX_ON_ERROR", "nan")
    assert bool(jnp.isnan(check(BAD)).all())


def test_breakpoint_opens_the_debugger_first(monkeypatch: pytest.MonkeyPatch):
    opened: list[int] = []
    monkeypatch.setattr("sys.breakpointhook", lambda: opened.append(1))
    for f in (error_if, filter_jit(error_if)):
        with pytest.raises(EquinoxRuntimeError, match=TEXT):
            f(BAD, jnp.array(True), TEXT, on_error="breakpoint")
    assert len(opened) == 2


def test_wrong_use(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match="No arrays to thread error on to"):
        error_if("no array", jnp.array(False), TEXT)
    with pytest.raises(TypeError, match="`pred` must be a bool"):
        error_if(GOOD, "yes", TEXT)
    with pytest.raises(RuntimeError, match=r"Unrecognised value for `on_error`.*'stop'"):
        error_if(GOOD, True, TEXT, on_error="stop")
    monkeypatch.setenv("EQX_ON_ERROR", "stop")
    with pytest.raises(RuntimeError, match="EQX_ON_ERROR"):
        error_if(GOOD, True, TEXT)
