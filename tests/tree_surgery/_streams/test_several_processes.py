"""`save` and `load` where each process of a job holds a part of the arrays."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery import load, peek

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "in_processes.py"


def test_all_processes_save_and_load_together(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", SCRIPT, str(port), "2", str(i), str(tmp_path)],
            env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(outputs)
    assert all(output.endswith("done\n") for output in outputs)
    # In one process, of which the file knows nothing.
    like = {"rows": jnp.zeros((8, 4)), "step": 0}
    found, _ = load(tmp_path / "whole", like, strict=False)
    np.testing.assert_array_equal(found["rows"], np.arange(32.0).reshape(8, 4))
    assert found["step"] == 3 and peek(tmp_path / "whole").metadata == {"processes": 2}
