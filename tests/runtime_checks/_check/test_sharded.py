"""Checks over several devices: an exception, no deadlock, no dead process, nothing printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "sharded.py"


def start(devices: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def run(devices: str, *arguments: str) -> None:
    done = start(devices, *arguments)
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
    [
        "sharded",
        "replicated; shard_map of replicated",
        "collectives",
        "shard_map; shard_map with psum",
        "index; index in shard_map; shown; shown in shard_map",
    ],
)
def test_plain_jit(devices: str, case: str):
    run(devices, case, "jit")


def test_what_plain_jit_cannot_do_is_said():
    refused = (
        "shard_map of some axes; shard_map with a loop; shard_map out of step; "
        "shard_map, a branch; shard_map, a while loop"
    )
    run("4", refused, "jit")
