"""Under `filter_jit` a check is a result of the program: nothing calls back, and no end is lost."""

import gc
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import (
    filter_grad,
    filter_jit,
    filter_pmap,
    filter_scan,
    filter_while_loop,
)
from pytree_module import Module
from runtime_checks import (
    EquinoxRuntimeError,
    EquinoxTracetimeError,
    branched_error_if,
    check,
    checks,
    error_if,
)

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


def root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(positive(x) + 1)


@jax.custom_jvp
def with_jvp(x: jax.Array) -> jax.Array:
    return root(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), tangents[0]))


@jax.custom_vjp
def with_vjp(x: jax.Array) -> jax.Array:
    return root(x)


with_vjp.defvjp(lambda x: (root(x), x), lambda x, g: (positive(g * x + 2, "backward"),))


def while_with_check_in_its_test(x: jax.Array) -> jax.Array:
    return jax.lax.while_loop(lambda c: positive(c).sum() < 9, lambda c: c + 1, x)


def mapped_while(x: jax.Array) -> jax.Array:
    # An example that has come to its end goes on being computed with the others: its check must
    # not be counted.
    def one(x: jax.Array) -> jax.Array:
        return jax.lax.while_loop(
            lambda c: c < 3, lambda c: error_if(c, (c >= 3) | (c < 0), "negative input") + 1, x
        )

    return jax.vmap(one)(x)


def nested_loops(x: jax.Array) -> jax.Array:
    def outer(c: jax.Array, _: None) -> tuple[jax.Array, None]:
        c = jax.lax.fori_loop(0, 3, lambda i, c: positive(c) + 0.5, c)
        return jax.lax.cond(c[0] > 0, root, lambda c: positive(c, "the other branch"), c), None

    return jax.lax.scan(outer, x, None, length=2)[0]


PROGRAMS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "grad of custom_jvp": lambda x: jax.grad(lambda x: with_jvp(x).sum())(x),
    "grad of custom_vjp": lambda x: jax.grad(lambda x: with_vjp(x).sum())(x),
    "grad of scan": lambda x: jax.grad(
        lambda x: jax.lax.scan(lambda c, _: (root(c), None), x, None, length=2)[0].sum()
    )(x),
    "grad of checkpoint in scan": lambda x: jax.grad(
        lambda x: jax.lax.scan(jax.checkpoint(lambda c, _: (root(c), None)), x, None, length=2)[
            0
        ].sum()
    )(x),
    "while, in the test": while_with_check_in_its_test,
    "vmap of while": mapped_while,
    "nested loops": nested_loops,
    "reverse scan": lambda x: jax.lax.scan(lambda c, x: (c, root(x)), 0.0, x, reverse=True)[1],
    "empty scan beside": lambda x: (
        root(x) + jax.lax.scan(lambda c, _: (positive(c), None), x, None, length=0)[0]
    ),
    "switch": lambda x: jax.lax.switch(1, [lambda x: x, root, jnp.sin], x),
    "associative_scan": lambda x: jax.lax.associative_scan(jnp.add, root(x)),
    "filter_scan": lambda x: filter_scan(lambda c, _: (root(c), None), x, None, length=2)[0],
    "filter_while_loop": lambda x: filter_while_loop(
        lambda c: c.sum() < 9, lambda c: positive(c) + 1, x
    ),
    "vmap of scan": lambda x: jax.vmap(
        lambda x: jax.lax.scan(lambda c, _: (root(c), None), x, None, length=2)[0]
    )(x),
    "linearize": lambda x: jax.linearize(root, x)[1](x),
    "hessian": lambda x: jax.hessian(lambda x: root(x).sum())(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_through_everything(name: str):
    with checks("off"):
        expected = jax.jit(PROGRAMS[name])(GOOD)
    f = filter_jit(PROGRAMS[name])
    for _ in range(2):
        np.testing.assert_allclose(f(GOOD), expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            f(BAD)
        assert caught.value.message == "negative input"


@pytest.mark.parametrize("name", PROGRAMS)
def test_plain_jit_says_the_same(name: str):
    if name == "vmap of while":
        pytest.skip("the program itself cannot tell an example that has come to its end")
    f = jax.jit(PROGRAMS[name])
    jax.block_until_ready(f(GOOD))
    for _ in range(2):
        with pytest.raises(jax.errors.JaxRuntimeError, match="negative input"):
            jax.block_until_ready(f(BAD))


# https://github.com/patrick-kidger/equinox/issues/628
# https://github.com/patrick-kidger/equinox/issues/631
def test_nothing_calls_back(tmp_path: Path):
    # What XLA compiles says so; it is asked to write it down, in a process of its own.
    script = tmp_path / "script.py"
    script.write_text(
        "import jax, jax.numpy as jnp\n"
        "from filtered_transforms import filter_jit\n"
        "from runtime_checks import error_if\n"
        "def f(x):\n"
        "    x = jax.lax.scan(lambda c, _: (error_if(c, c < 0, 'm'), None), x, None, length=3)[0]\n"
        "    return jax.vmap(lambda x: error_if(x, x > 9, 'n'))(x)\n"
        "assert filter_jit(f)(jnp.ones(3)).sum() == 3\n"
    )
    dump = tmp_path / "dump"
    environment = {**os.environ, "XLA_FLAGS": f"--xla_dump_to={dump} --xla_dump_hlo_as_text"}
    subprocess.run([sys.executable, script], check=True, timeout=100, env=environment)
    programs = [path.read_text() for path in dump.glob("*jit_f*after_optimizations.txt")]
    assert len(programs) == 1 and "while" in programs[0] and "callback" not in programs[0]


def test_the_first_failure_in_time_is_reported():
    def f(n: jax.Array) -> jax.Array:
        def body(c: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            c = error_if(c, i == n + 2, "late, but first in the program")
            return error_if(c + 1, i == n, "early"), None

        return jax.lax.scan(body, jnp.zeros(()), jnp.arange(10))[0]

    with pytest.raises(EquinoxRuntimeError, match="^early"):
        filter_jit(f)(jnp.array(3))
    with pytest.raises(EquinoxRuntimeError, match="^late"):
        filter_jit(f)(jnp.array(-2))
    assert filter_jit(f)(jnp.array(20)) == 10


def test_which_elements_failed_first_in_a_loop():
    def f(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (positive(c) - 1, None), x, None, length=9)[0]

    with pytest.raises(EquinoxRuntimeError, match="for 1 of 3 elements, at 1") as caught:
        filter_jit(f)(jnp.array([5.0, 1.5, 2.5]))  # 1 fails in the third step, 2 in the fourth
    assert caught.value.index == ((1,),)


def test_a_failure_ends_a_loop_without_another_end():
    f = filter_jit(
        lambda x: jax.lax.while_loop(lambda c: c[0] > -1, lambda c: positive(c) * 1 - 0, x)
    )
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        f(jnp.array([1.0, -1.0]))
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        filter_jit(lambda x: jax.lax.while_loop(lambda c: positive(c) > -1, lambda c: c, x))(
            jnp.array(-0.5)
        )


def test_an_inner_function_traced_before():
    inner = jax.jit(root)
    inner(GOOD)
    filter_jit(lambda x: inner(x) + 1)(GOOD)
    for f in (filter_jit(lambda x: inner(x) * 2), filter_jit(lambda x: inner(x) + inner(x + 1))):
        f(GOOD)
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            f(BAD)


def test_inner_functions_keep_their_options():
    device = jax.devices()[1]
    sharding = jax.sharding.SingleDeviceSharding(device)
    inner = jax.jit(root, out_shardings=sharding, in_shardings=sharding)
    x = jax.device_put(GOOD, device)
    f = filter_jit(lambda x: inner(x) * 2)
    out = f(x)
    assert out.devices() == {device}
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        f(x - 1)


def test_in_a_method_with_other_arguments():
    class Model(Module):
        scale: jax.Array
        name: str

        @filter_jit
        def __call__(self, x: jax.Array, flag: bool) -> tuple[jax.Array, str]:
            return positive(x * self.scale), self.name

    model = Model(jnp.array(2.0), "a")
    for _ in range(2):
        out, name = model(GOOD, True)
        np.testing.assert_array_equal(out, GOOD * 2)
        assert name == "a"
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            model(BAD, flag=False)


def test_with_donation_and_silence():
    f = filter_jit(lambda x, y: (positive(x) + 1, y.sum()), donate="all")
    out, total = f(jnp.arange(3.0), jnp.arange(5))
    np.testing.assert_array_equal(out, GOOD + 1)
    assert total == 10
    with pytest.raises(EquinoxRuntimeError):
        f(jnp.arange(3.0) - 1, jnp.arange(5))


def test_one_trace_and_other_shapes():
    count = 0

    def f(x: jax.Array) -> jax.Array:
        nonlocal count
        count += 1
        return root(x) if x.ndim == 1 else x

    g = filter_jit(f)
    for _ in range(3):
        g(GOOD)
        with pytest.raises(EquinoxRuntimeError):
            g(BAD)
    assert count == 1
    np.testing.assert_array_equal(g(GOOD[None]), GOOD[None])  # no check there
    with pytest.raises(EquinoxRuntimeError):
        g(jnp.array([-1.0]))
    assert count == 3
    # A program that has no check for its first arguments, but for others.
    h = filter_jit(lambda x: root(x) if x.ndim == 1 else x)
    h(GOOD[None])
    for _ in range(2):
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            h(BAD)
        h(GOOD)


def test_inside_of_other_transformations():
    f = filter_jit(root)
    outer = {
        "jit": jax.jit(lambda x: f(x) * 2),
        "vmap": jax.vmap(f),
        "grad": lambda x: filter_grad(lambda x: f(x).sum())(x),
        "filter_jit": filter_jit(lambda x: f(x) * 2),
        "scan": filter_jit(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=2)[0]),
        "closure": filter_jit(lambda x: filter_jit(lambda: root(x))()),
        "vmap of closure": jax.vmap(lambda x: filter_jit(lambda: root(x))()),
    }
    for name, g in outer.items():
        f(GOOD)
        jax.block_until_ready(g(GOOD))
        with pytest.raises((EquinoxRuntimeError, jax.errors.JaxRuntimeError), match="negative in"):
            print(name, jax.block_until_ready(g(BAD)))


# A callback fails the program on every device; what is raised is ours, as under `filter_jit`.
def test_under_filter_pmap():
    def each(x: jax.Array) -> jax.Array:
        return positive(x) * 2

    f = filter_pmap(each)
    good, bad = jnp.arange(4.0).reshape(2, 2), jnp.array([[0.0, 1.0], [2.0, -3.0]])
    for _ in range(2):
        np.testing.assert_array_equal(f(good), good * 2)
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            f(bad)
        assert type(caught.value) is EquinoxRuntimeError
        assert caught.value.message == "negative input"


def test_lowered_and_compiled():
    compiled = filter_jit(root).lower(GOOD).compile()
    np.testing.assert_allclose(compiled(GOOD), root(GOOD))
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        compiled(BAD)


def test_branches_by_index():
    texts = ["zero", "one", "two"]
    for f in (branched_error_if, filter_jit(branched_error_if)):
        for i in range(3):
            with pytest.raises(EquinoxRuntimeError) as caught:
                f(GOOD, jnp.array(True), jnp.array(i), texts)
            assert caught.value.message == texts[i]
        np.testing.assert_array_equal(f(GOOD, jnp.array(False), jnp.array(1), texts), GOOD)
        with pytest.raises(EquinoxRuntimeError, match="^two"):
            f(GOOD, GOOD < 3, jnp.array([1, 2, 0]), texts)
        with pytest.raises(EquinoxRuntimeError, match="^one"):  # of those that failed
            f(GOOD, GOOD != 1, jnp.array([1, 2, 0]), texts)
        with pytest.raises(EquinoxTracetimeError, match="^one"):
            f(GOOD, True, 1, texts)
    with pytest.raises(EquinoxRuntimeError, match="^two"):
        filter_jit(jax.vmap(lambda x, i: branched_error_if(x, x >= 0, i, texts)))(
            GOOD, jnp.array([1, 2, 0])
        )
    for index, msgs in ((3, texts), (0, [])):
        with pytest.raises(IndexError):
            branched_error_if(GOOD, True, index, msgs)


def test_check_needs_no_threading_and_shows_values():
    def f(x: jax.Array) -> jax.Array:
        check(x < 0, "negative", x=x, where=jnp.arange(3), total=x.sum())
        return x * 2

    programs = [f, filter_jit(f), filter_jit(lambda x: jax.grad(lambda x: f(x).sum())(x))]
    programs.append(filter_jit(jax.vmap(lambda x: (check(x < 0, "negative", x=x), x * 2)[1])))
    programs.append(
        filter_jit(lambda x: jax.lax.scan(lambda c, _: (f(c) / 2, None), x, None, length=3)[0])
    )
    for g in programs:
        g(GOOD)
        with pytest.raises(EquinoxRuntimeError, match="x = ") as caught:
            g(BAD)
        assert caught.value.values["x"] == -1 and caught.value.index == ((0,),)
    with pytest.raises(EquinoxRuntimeError) as caught:
        filter_jit(f)(BAD)
    assert caught.value.values["total"] == 0 and caught.value.values["where"] == 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="negative"):
        jax.block_until_ready(jax.jit(f)(BAD))
    with pytest.raises(EquinoxTracetimeError, match="always"):
        check(True, "always")
    assert check(False, "never") is None


def test_an_unused_result_is_reported_and_checked():
    def f(x: jax.Array) -> jax.Array:
        error_if(x, x < 0, "unused")
        return x

    line = f.__code__.co_firstlineno + 1
    g = filter_jit(f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        g(GOOD)
        g(GOOD)
    assert [(w.lineno, w.filename) for w in caught] == [(line, __file__)]
    assert "'unused'" in str(caught[0].message) and "check(pred, msg)" in str(caught[0].message)
    with pytest.raises(EquinoxRuntimeError, match="unused"):
        g(BAD)
    # Its gradient does not need it, but it was used.
    h = filter_jit(jax.grad(lambda x: (positive(x) * 3).sum()))
    h(GOOD)
    with pytest.raises(EquinoxRuntimeError, match="negative input"):
        h(BAD)


def test_what_a_derivative_does_not_use_is_no_mistake():
    # The rule hands on what it has checked, and `grad` has no need of it.
    @jax.custom_vjp
    def f(x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    f.defvjp(lambda x: (positive(x), x), lambda x, g: (g * x,))
    for gradient, x in ((jax.grad(f), GOOD[1]), (jax.vmap(jax.grad(f)), GOOD)):
        np.testing.assert_array_equal(filter_jit(gradient)(x), x)  # warnings are errors here
        with pytest.raises(EquinoxRuntimeError, match="negative input"):
            filter_jit(gradient)(x - 2)


# Equinox lets it through as well.
def test_a_tangent_goes_through_forwards_and_backwards():
    @jax.custom_jvp
    def double(x: jax.Array) -> jax.Array:
        return x * 2

    @double.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return double(x), positive_tangent(t, x) * 2

    def positive_tangent(t: jax.Array, x: jax.Array) -> jax.Array:
        return error_if(t, x < 0, "no tangent here")

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: (double(x) ** 2).sum())(x)

    for f in (
        gradient,
        filter_jit(gradient),
        jax.jit(gradient),
        filter_jit(jax.hessian(lambda x: (double(x) ** 2).sum())),
    ):
        expected = 8 * GOOD if f(GOOD).ndim == 1 else 8 * jnp.eye(3)
        np.testing.assert_allclose(f(GOOD), expected)
        with pytest.raises(EquinoxRuntimeError, match="no tangent here"):
            jax.block_until_ready(f(BAD))
    transposed = jax.linear_transpose(lambda t: positive_tangent(t, GOOD) * 3, GOOD)
    np.testing.assert_array_equal(transposed(GOOD)[0], 3 * GOOD)


def test_the_message():
    def inner(x: jax.Array) -> jax.Array:
        return positive(x)

    with pytest.raises(EquinoxRuntimeError) as caught:
        filter_jit(lambda x: jax.vmap(inner)(x))(BAD)
    text = str(caught.value)
    lines = text.split("\n")
    assert lines[0] == "negative input" and lines[1] == "It failed for 1 of 3 elements, at 0."
    assert lines[2] == "The check stands here (innermost last):"
    shown = [line.strip() for line in lines if line.startswith("  File")]
    assert shown[-1].startswith(f'File "{__file__}"') and shown[-1].endswith("in positive")
    assert shown[-2].endswith("in inner")
    assert not any("/jax/" in line or "runtime_checks/src" in line for line in shown)
    assert "EQX_ON_ERROR=breakpoint" in lines[-1]
    assert caught.value.check_location.endswith("in positive")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.index, again.message) == (text, ((0,),), "negative input")


def test_calls_leave_no_garbage():
    f = filter_jit(root)
    f(GOOD)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(100):
            f(GOOD)
        assert len(gc.get_objects()) - before < 50 and gc.collect() < 50
    finally:
        gc.enable()


def test_without_a_program_it_is_a_run_time_error():
    for f in (
        positive,
        jax.jacfwd(positive),
        jax.grad(lambda x: positive(x).sum()),
        jax.vmap(root),
    ):
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            f(BAD)
        assert type(caught.value) is EquinoxRuntimeError


def test_constants_while_tracing():
    for pred in (jnp.array(True), np.array([False, True])):
        for jit in (jax.jit, filter_jit):
            with pytest.raises(EquinoxTracetimeError, match="known"):
                jit(lambda x, pred=pred: error_if(x, pred, "known"))(GOOD)


# https://github.com/patrick-kidger/equinox/issues/844
def test_nothing_global_is_patched_and_the_end_is_silent(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, logging, sys, threading, warnings\n"
        "import jax, jax.numpy as jnp\n"
        "def state():\n"
        "    loggers = [logging.getLogger(n) for n in (None, 'jax', 'jax._src.callback')]\n"
        "    return (jax.jit, jax.grad, sys.stderr, sys.stdout, sys.excepthook,\n"
        "            threading.excepthook,\n"
        "            warnings.showwarning, [(x.level, x.handlers, x.filters) for x in loggers])\n"
        "before = state()\n"
        "from filtered_transforms import filter_jit\n"
        "from runtime_checks import error_if\n"
        "def f(x):\n"
        "    return error_if(x, x < 0, 'negative') * 2\n"
        "for jit in (filter_jit, jax.jit, jax.vmap):\n"
        "    for x in (1.0, -1.0):\n"
        "        try:\n"
        "            jax.block_until_ready(jit(f)(jnp.array([x])))\n"
        "        except RuntimeError as error:\n"
        "            assert 'negative' in str(error) and x < 0\n"
        "        else:\n"
        "            assert x > 0\n"
        "assert state() == before\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_checks_side_by_side_keep_their_own_texts():
    # Booleans come out of the program as one array, whatever stands between them.
    def f(x: jax.Array, n: jax.Array) -> jax.Array:
        x = error_if(x, n == 1, "one")
        x = error_if(x, x < 0, "negative")
        check(n == 2, "two", n=n)
        return error_if(x, n == 3, "three")

    g = filter_jit(f)
    np.testing.assert_array_equal(g(GOOD, jnp.array(0)), GOOD)
    for n, text in ((1, "one"), (2, "two"), (3, "three")):
        with pytest.raises(EquinoxRuntimeError) as caught:
            g(GOOD, jnp.array(n))
        assert caught.value.message == text
    assert caught.value.values == {}
    with pytest.raises(EquinoxRuntimeError, match="for 1 of 3 elements, at 0"):
        g(BAD, jnp.array(3))
    with pytest.raises(EquinoxRuntimeError, match="n = 2"):
        g(GOOD, jnp.array(2))


@pytest.mark.parametrize(
    "traced", [jax.jit, lambda f: lambda x: jax.lax.cond(x > 9, jnp.cos, f, x)]
)
@pytest.mark.parametrize("jit", [jax.jit, filter_jit])
def test_constants_may_be_shown_of_mapped_examples(jit: Any, traced: Any):
    # JAX hands a constant of a traced program to the rule for `vmap` as a number without a shape.
    def positive(x: Any) -> Any:
        check(x < 0, "negative", least=0.5, count=np.int32(3))
        return branched_error_if(x, x < 0, jnp.array(1), ["not this", "negative"])

    f = jit(jax.vmap(traced(positive)))
    np.testing.assert_array_equal(f(jnp.array([1.0, 2.0])), [1, 2])
    with pytest.raises(EquinoxRuntimeError, match="negative") as caught:
        jax.block_until_ready(f(jnp.array([1.0, -2.0])))
    error = EquinoxRuntimeError.of(caught.value)
    assert error is not None and error.index == ((1,),)


# JAX 0.12 hides these functions from those who read a program.
@pytest.mark.parametrize("way", ["custom_root", "custom_linear_solve", "linear_call", "platform"])
def test_functions_that_jax_calls_for_us(way: str):
    def f(x: Any) -> Any:
        if way == "custom_root":
            return jax.lax.custom_root(lambda y: y - x, x, lambda _, x: positive(x), lambda _, y: y)
        if way == "custom_linear_solve":
            return jax.lax.custom_linear_solve(
                lambda y: 2 * y, 2 * x, lambda _, b: positive(b) / 2, symmetric=True
            )
        if way == "linear_call":
            call = jax.custom_derivatives.linear_call
            return call(lambda _, x: positive(x), lambda _, ct: ct, (), x)
        return jax.lax.platform_dependent(x, cpu=positive, default=jnp.cos)

    for g, expected in ((f, GOOD), (jax.grad(lambda x: f(x).sum()), jnp.ones(3))):
        jitted = filter_jit(g)
        np.testing.assert_allclose(jitted(GOOD), expected)
        with pytest.raises(EquinoxRuntimeError, match="negative input") as caught:
            jitted(BAD)
        assert type(caught.value) is EquinoxRuntimeError
        assert caught.value.index == ((0,),)
