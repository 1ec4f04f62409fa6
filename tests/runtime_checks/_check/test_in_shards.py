"""A check in a `shard_map`, by whatever way it is reached: the right result, or it is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "in_shards.py"


@pytest.mark.parametrize("jit", ["jit", "filter_jit"])
def test_no_way_to_a_check_makes_shards_wait_for_ever(jit: str):
    # Where they do, XLA ends the process; the last line says in which row.
    done = subprocess.run(
        [sys.executable, SCRIPT, jit],
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = done.stdout.splitlines()
    assert done.returncode == 0, rows[-1:] + done.stderr.splitlines()[-20:]
    assert rows[-1] == "done"
    assert [row for row in rows[:-1] if "WRONG" in row] == []
    assert len(rows) > 60
