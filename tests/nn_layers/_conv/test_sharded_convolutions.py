"""Gradients of convolutions over several devices, in processes with as many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "sharded_convolutions.py"


def run(devices: int, *cases: str) -> None:
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, SCRIPT, *cases],
        env=os.environ
        | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "done\n"


def test_every_convolution_over_four_devices_is_that_of_one():
    run(4, "all")


@pytest.mark.parametrize("devices", [2, 8])
def test_the_number_of_devices_does_not_matter(devices: int):
    run(devices, "depthwise", "stride", "transposed")


def test_explicit_axes():
    run(4, "explicit")


def test_a_split_along_space():
    run(4, "space")


def test_xla_still_needs_another_gradient_from_us():
    run(4, "XLA")
