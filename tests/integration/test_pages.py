"""What the pages of `docs` show is what their examples print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["docs/when-it-fails.md", "docs/exporting.md"])
def test_outputs_are_those_of_now(page: str):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": ""}
    environment.pop("EQX_ON_ERROR", None)
    done = subprocess.run(
        [sys.executable, "docs/page.py", page, "--check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
