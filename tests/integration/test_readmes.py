"""Every ```python block of every README runs, as a reader runs it: one script, a fresh process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]


def script(text: str) -> str:
    """The code blocks of a README, each on the lines where it stands there, and nothing else."""
    lines, inside = [], False
    for line in text.splitlines():
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            inside = not inside and fence.group(1) == "python"
        lines.append(line if inside and not fence else "")
    return "\n".join(lines)


@pytest.mark.parametrize("readme", READMES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_code_block_runs(readme: Path, tmp_path: Path):
    code = script(readme.read_text())
    assert code.strip(), f"{readme} has no ```python block: show the reader an example"
    file = tmp_path / "README.md"  # a traceback then names README.md and the line in it
    file.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{readme.relative_to(ROOT)}\n{done.stdout}\n{done.stderr}"
