"""`import equinox` as ourselves, each time in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import equinoctial

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


def test_all_modules_are_there():
    assert {"nn", "internal", "debug"} <= set(dir(equinoctial))
