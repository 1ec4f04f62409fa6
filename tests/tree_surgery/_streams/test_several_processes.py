"""`save` and `load` where each process of a job holds a part of the arrays."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery import load, peek

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "in_processes.py"


def test_all_processes_save_and_load_together(run_job: Callable[..., None], tmp_path: Path):
    run_job(SCRIPT, str(tmp_path))
    # In one process, of which the file knows nothing.
    like = {"rows": jnp.zeros((8, 4)), "step": 0}
    found, _ = load(tmp_path / "whole", like, strict=False)
    np.testing.assert_array_equal(found["rows"], np.arange(32.0).reshape(8, 4))
    assert found["step"] == 3 and peek(tmp_path / "whole").metadata == {"processes": 2}
