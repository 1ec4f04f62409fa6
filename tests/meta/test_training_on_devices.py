"""Steps of training are on any number of devices what they are on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "training_on_devices.py"


def test_steps_are_those_of_one_device():
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env=os.environ
        | {
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr
