"""Every layer over several devices, in a process with four."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "sharded_layers.py"


def test_layers_are_those_of_one_device():
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env=os.environ
        | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr
