"""`import equinox` as ourselves, each time in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import equinoctial
from equinoctial._private_names import MODULES, NAMES

LIBRARY = """
import equinox as eqx
import equinox.nn
from equinox.internal import hashable_partition
from equinox import debug


class Net(eqx.Module):
    layer: eqx.nn.Linear
    options: dict = eqx.field(static=True, default_factory=dict)

    def __call__(self, x):
        return self.layer(x)
"""
CHECK = """
import importlib.util, sys
import equinoctial, library, equinox
assert library.eqx.Module is equinoctial.Module
assert equinox.nn is sys.modules["equinox.nn"] and equinox.nn.Linear is equinoctial.nn.Linear
assert library.hashable_partition is equinoctial.internal.hashable_partition
assert library.debug.assert_max_traces is equinoctial.debug.assert_max_traces
assert equinox._module._module._ModuleMeta is type(equinoctial.Module)
assert equinox.__version__ == "0.13.8" and equinox.__name__ == "equinox"
assert importlib.util.find_spec("equinox.nn") is not None
assert issubclass(library.Net, equinoctial.Module)
assert equinox._module._module.is_abstract_module(library.Net) is False
assert library.Net(None).options == {}  # as in Equinox no warning, though it has no hash
try:
    import equinox.not_there
except ModuleNotFoundError as error:
    assert error.name == "equinox.not_there"
else:
    raise AssertionError
print("well", sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "program.py").write_text(CHECK)
    (tmp_path / "test_program.py").write_text(f"def test():\n    exec({CHECK!r}, {{}})\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    # A program finds what is beside it, as it does unless that was switched off around us.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import equinoctial.as_equinox\n" + CHECK, "a", "-b"),
        ("-W", "error", "-m", "equinoctial.as_equinox", "program.py", "a", "-b"),
        ("-m", "equinoctial.as_equinox", "-m", "program", "a", "-b"),
    ],
    ids=["import", "script", "module"],
)
def test_a_program_finds_us(folder: Path, arguments: tuple[str, ...]):
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "well ['a', '-b']"


def test_a_test_suite_finds_us(folder: Path):
    quiet = ("-q", "-o", "filterwarnings=error")
    done = run(folder, "-m", "pytest", *quiet, "-p", "equinoctial.as_equinox", "test_program.py")
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_too_late_is_told(folder: Path):
    (folder / "equinox.py").write_text("")  # as the real one would be
    done = run(folder, "-c", "import equinox, equinoctial.as_equinox")
    assert done.returncode == 1
    assert "came too late: Equinox itself has been imported, from" in done.stderr
    done = run(folder, "-c", "import equinoctial.as_equinox, equinox, equinoctial.as_equinox")
    assert done.returncode == 0, done.stderr


def test_usage(folder: Path):
    done = run(folder, "-m", "equinoctial.as_equinox")
    assert done.returncode == 1 and "usage: python -m equinoctial.as_equinox" in done.stderr


PRIVATE = """
import equinoctial.as_equinox
import importlib
import equinox
import equinox.internal._omega
from equinox._module import Module, Static, field
from equinox.internal._loop.checkpointed import checkpointed_while_loop
from equinox.internal._loop.bounded import bounded_while_loop
import jax, jax.numpy as jnp, numpy as np
import equinoctial as eqx
from equinoctial import internal, nn

# As a module, by `from`, and as an attribute of what has only been imported above it.
assert equinox.internal._omega._Metaω is type(internal.ω)
assert isinstance(internal.ω, equinox.internal._omega._Metaω)
assert (Module, Static, field) == (eqx.Module, eqx.Static, eqx.field)
assert equinox._module.Module is Module and equinox._module._prebuilt.BoundMethod is eqx.BoundMethod
for path, here in {
    "_enum.EnumerationItem": eqx.EnumerationItem,
    "_filters.is_array": eqx.is_array,
    "_filters.is_array_like": eqx.is_array_like,
    "_vmap_pmap.filter_vmap": eqx.filter_vmap,
    "_doc_utils.doc_repr": internal.doc_repr,
    "_misc.left_broadcast_to": internal.left_broadcast_to,
    "_tree.tree_at": eqx.tree_at,
    "_errors.error_if": eqx.error_if,
    "debug._max_traces.assert_max_traces": eqx.debug.assert_max_traces,
    "internal._loop.common.select_if_vmap_p": internal.select_if_vmap_p,
    "internal._loop.loop.while_loop": eqx.while_loop,
    "nn._linear.Linear": nn.Linear,
    "nn._stateful.State": nn.State,
    "nn._stateful.StateIndex": nn.StateIndex,
    "nn._conv.Conv": nn.Conv,
    "nn._batch_norm.BatchNorm": nn.BatchNorm,
    "nn._misc.named_scope": jax.named_scope,
}.items():
    module, _, name = f"equinox.{path}".rpartition(".")
    assert getattr(importlib.import_module(module), name) is here, path

def runs(state):
    return state[0] < 5

def squares(state):
    return state[0] + 1, state[1] ** 2

for loop in (
    lambda x: checkpointed_while_loop(runs, squares, (0, x), checkpoints=3)[1],
    lambda x: bounded_while_loop(runs, squares, (0, x), max_steps=8)[1],
):
    np.testing.assert_allclose(jax.grad(loop)(1.01), 32 * 1.01**31, rtol=1e-5)

under_construction = equinox._module._module._currently_initialising
linear = nn.Linear(2, 2, key=jax.random.key(0))
copy = jax.tree.map(lambda x: x, linear)
assert linear not in under_construction and 3 not in under_construction
under_construction.add(copy)
assert copy in under_construction and linear not in under_construction
copy.bias = jnp.zeros(2)
under_construction.remove(copy)
assert copy not in under_construction and (copy.bias == 0).all() and (linear.bias != 0).any()
try:
    copy.bias = 3
except AttributeError:
    pass
else:
    raise AssertionError

class RESULTS(eqx.Enumeration):
    a = "A"
    b = "B"

item = equinox._enum.EnumerationItem(jnp.array(1), RESULTS)
assert repr(item).endswith("<B>")
assert isinstance(eqx.filter_closure_convert(jnp.sin, 1.0), equinox._ad._ClosureConvert)
sentinel = equinox._custom_types.sentinel
assert eqx.filter_jit(sentinel, donate="all")(jnp.sin)(1.0) == jnp.sin(1.0)  # as if left out
print("well")
"""


def test_private_modules_give_what_libraries_import(folder: Path):
    done = run(folder, "-W", "error", "-c", PRIVATE)
    assert done.returncode == 0 and done.stdout == "well\n", done.stderr


def test_every_private_name_is_an_object_in_a_module():
    for private in NAMES:
        assert private.module in MODULES
        assert private.find() is not None, private


MISTAKES = {
    "from equinox._misc import absent": ("ImportError", "cannot import name 'absent' from"),
    "from equinox import absent": ("ImportError", "cannot import name 'absent' from 'equinox'"),
    "from equinox.nn import while_loop": ("ImportError", "`from equinox import while_loop`"),
    "import equinox.experimental": (
        "ModuleNotFoundError",
        "No module named 'equinox.experimental'",
    ),
    "from equinox._absent import it": ("ModuleNotFoundError", "No module named 'equinox._absent'"),
    "import equinox._misc.absent": (
        "ModuleNotFoundError",
        "No module named 'equinox._misc.absent'",
    ),
    "import equinox; equinox.absent": ("AttributeError", "'equinox' has no attribute 'absent'"),
    "import equinox; equinox.nn._misc.absent": ("AttributeError", "has no attribute 'absent'"),
}


def test_what_is_not_there_says_that_this_is_an_alias(folder: Path):
    program = f"""
import equinoctial.as_equinox
for statement in {list(MISTAKES)!r}:
    try:
        exec(statement, {{}})
    except (ImportError, AttributeError) as error:
        print(type(error).__name__, error)
"""
    done = run(folder, "-c", program)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for (statement, (kind, message)), line in zip(MISTAKES.items(), lines, strict=True):
        assert line.startswith(kind + " "), statement
        assert message in line, statement
        assert "`equinox` is an alias of `equinoctial`" in line, statement
        assert "mport public names" in line or "Write `from equinox" in line, statement


def test_all_modules_are_there():
    assert {"nn", "internal", "debug"} <= set(dir(equinoctial))
