"""The code of pages in `docs/` runs, page by page, and every picture is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAMES = ("looking.md", "loops.md", "saving.md", "sharding.md", "typing.md")
PAGES = {name: BLOCK.findall((DOCS / name).read_text()) for name in NAMES}


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs(name: str, tmp_path: Path):
    script = tmp_path / "page.py"
    assert PAGES[name]
    script.write_text("\n".join(PAGES[name]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"


def test_every_picture_is_there():
    for page in DOCS.glob("*.md"):
        for picture in re.findall(r"!\[[^\]]+\]\((pictures/\w+\.png)\)", page.read_text()):
            content = (DOCS / picture).read_bytes()
            assert content.startswith(b"\x89PNG") and len(content) > 1000, picture
