"""Under `filter_jit` a check is a result of the program: nothing calls back, and no end is lost."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit, filter_scan, filter_while_loop
from runtime_checks import EquinoxRuntimeError, checks, error_if

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
