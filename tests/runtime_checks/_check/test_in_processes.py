"""A check that fails in one process of a job is an error in all of them, and none waits."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parent / "in_processes.py"


def test_every_process_gets_the_exception(run_job: Callable[..., None]):
    run_job(SCRIPT)
