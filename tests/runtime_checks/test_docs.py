"""The examples in the docstrings run, and every public name has one."""

import inspect
import re
from typing import Any

import pytest

import runtime_checks
from runtime_checks import debug

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PUBLIC = [(runtime_checks, name) for name in runtime_checks.__all__]
PUBLIC += [(debug, name) for name in debug.__all__ if not name.endswith("_p")]
# What others return or raise; their examples are there.
RESULTS = {
    "Collective",
    "EnumerationItem",
    "EquinoxRuntimeError",
    "EquinoxTracetimeError",
    "LargeArray",
    "ModuleTrace",
    "NanReport",
    "Plan",
    "Statistics",
}


@pytest.mark.parametrize(("module", "name"), [p for p in PUBLIC if p[1] not in RESULTS])
def test_example(module: Any, name: str, capsys: pytest.CaptureFixture[str]):
    found = BLOCK.findall(inspect.getdoc(getattr(module, name)) or "")
    assert found, f"{name} has no example"
    for code in found:
        exec(compile(code, f"<{name}>", "exec"), {})
