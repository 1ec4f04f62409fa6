"""`pytest --cases N`: a part of the cases of each test, and each parameter in some test."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

TESTS = """
import pytest

letters = pytest.mark.parametrize("letter", "abcdefghijkl")

def test_single(): ...

@pytest.mark.parametrize("number", [1, 2])
def test_two(number): ...
""" + "".join(f"\n@letters\ndef test_{i}(letter): ...\n" for i in range(24))


def test_every_test_runs_and_every_parameter_comes(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_letters.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--cases", "3", "--collect-only", "-q"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    cases = defaultdict(set)
    for line in done.stdout.splitlines():
        if "::" in line:
            name, _, parameter = line.partition("::")[2].partition("[")
            cases[name].add(parameter.rstrip("]"))
    assert len(cases.pop("test_single")) == 1 and len(cases.pop("test_two")) == 2
    assert len(cases) == 24 and all(len(letters) == 3 for letters in cases.values())
    assert set().union(*cases.values()) == set("abcdefghijkl")
