"""Checks over several devices: an exception, no deadlock, no dead process, nothing printed."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "sharded.py"


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout, done.stderr) == ("done\n", "")


# https://github.com/patrick-kidger/equinox/issues/939
# https://github.com/patrick-kidger/equinox/pull/1262
@pytest.mark.parametrize("devices", ["2", "4", "8"])
def test_filter_jit(devices: str):
    run(devices, "all", "filter_jit")


def test_filter_jit_with_explicit_axes():
    run("4", "explicit all", "filter_jit")


# Here the program itself fails, on all devices at once.
@pytest.mark.parametrize("devices", ["2", "8"])
@pytest.mark.parametrize(
    "case",
    ["sharded", "replicated", "collectives", "shard_map", "shard_map with psum"],
)
def test_plain_jit(devices: str, case: str):
    run(devices, case, "jit")
