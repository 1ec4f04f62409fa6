"""What was measured: the file that keeps it, and what got worse since.

Machines differ in seconds; on one machine the ratio to a peer, taken in one run, stays. So only
ratios are compared.
"""

import datetime
import json
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

LATEST = Path(__file__).parent / "latest.json"
WORSE = 1.10  # a ratio that grew by more than this is named
OURS, PEER = "ours", "Equinox"

Result = Mapping[str, Any]  # what `run.judged` gives, with the file of the case and the date


def machine() -> str:
    """What the figures depend on beside the code."""
    model = re.search(r"model name\s*: (.*)", _read(Path("/proc/cpuinfo")))
    cores = len(re.findall(r"^processor", _read(Path("/proc/cpuinfo")), re.MULTILINE))
    name = model[1] if model else platform.processor() or platform.machine()
    python, backend = platform.python_version(), jax.default_backend()
    return f"{name}, {cores} cores, Python {python}, JAX {jax.__version__} ({backend})"


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def read(file: Path) -> list[Result]:
    return json.loads(file.read_text())["results"] if file.exists() else []


def write(file: Path, found: Iterable[Result], versions: str) -> None:
    """Puts the results in the place of those that the file has of the same cases.

    Of other cases those before stay: `--only` measures a part anew. The order is that of the
    files of cases, and in each that of `found`, after those that only the file has.
    """
    today = datetime.date.today().isoformat()
    new = [dict(result) | {"date": today, "machine": machine()} for result in found]
    names = {(result["file"], result["case"]) for result in new}
    kept = [result for result in read(file) if (result["file"], result["case"]) not in names]
    results = sorted([*kept, *new], key=lambda result: result["file"])
    file.write_text(json.dumps({"versions": versions, "results": results}, indent=1) + "\n")


def worse(now: Result, before: Result) -> list[str]:
    """The sides to which the ratio has grown by more than a tenth."""
    return [
        side
        for side, ratio in now["ratios"].items()
        if side in before["ratios"] and ratio > WORSE * before["ratios"][side]
    ]
