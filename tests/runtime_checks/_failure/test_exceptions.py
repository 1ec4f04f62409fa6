"""What a failed check says, and what is left of it when the process ends."""

import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from filtered_transforms import filter_jit
from runtime_checks import EquinoxRuntimeError, check, error_if

GOOD, BAD = jnp.arange(3.0), jnp.arange(3.0) - 1


def positive(x: jax.Array, text: str = "negative input") -> jax.Array:
    return error_if(x, x < 0, text)


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
