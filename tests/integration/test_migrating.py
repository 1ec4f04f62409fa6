"""The page on moving from Equinox is what the list of differences says; every name has programs.

Whether the differences are those that there are is for `hatch run parity`, where Equinox is.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"

# In a process of its own: the modules in `parity/` have names that others have as well.
LIST = """
import json, registry
print(json.dumps({name: own.names for name, own in registry.load().items()}))
"""


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT / "parity", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_page_is_up_to_date() -> None:
    run("migrating.py", "--check")


@pytest.fixture(scope="module")
def programs() -> dict[str, list[str]]:
    return json.loads(run("-c", LIST))


def test_every_public_name_has_a_program(programs: dict[str, list[str]]) -> None:
    spaces = json.loads((DATA / "namespace.json").read_text())["namespaces"]
    promised = {f"{s}.{n}".removeprefix("equinoctial.") for s in spaces for n in spaces[s]}
    covered = {name for names in programs.values() for name in names}
    assert len(promised) == 176 and not promised - covered
    assert not covered - promised, "programs for names that are not promised"


def test_there_are_many_programs(programs: dict[str, list[str]]) -> None:
    assert len(programs) >= 400
