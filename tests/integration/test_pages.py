"""What the pages of `docs` show is what their examples print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from equinoctial._private_names import NAMES

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


def test_every_private_name_of_the_alias_is_on_the_page():
    page = (ROOT / "docs/ecosystem.md").read_text()
    for private in NAMES:
        row = next(
            line for line in page.splitlines() if f"`{private.module}.{private.name}`" in line
        )
        assert row.endswith(f"| {private.used_by} |"), private
