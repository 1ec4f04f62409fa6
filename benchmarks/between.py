"""Time what we do in this checkout beside what we did at another revision.

    hatch run bench:between REVISION [--only PATTERN] [--rounds N] [--limit RATIO]

The cases are those of every `cases_*.py` of *this* checkout, our side only. Each of the two trees
has a process of its own, which stays; within a round they take turns. A case that the other
revision cannot run is named below the table. Exits with 1 when a ratio is above the limit.
"""

import argparse
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
ROOT = HERE.parent


class Side:
    """A process that has one tree's packages on its path, and times what it is told to."""

    def __init__(self, root: Path, pattern: str):
        path = [str(source) for source in sorted(root.glob("packages/*/src"))]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", pattern],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = self._reply()
        self.calls: dict[str, int] = {}

    def _reply(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a process ended before its time: see its output above")
        return json.loads(line)

    def ask(self, name: str, calls: int | None) -> Any:
        """Seconds a call; how many calls make a round, if `calls` is None; None if it fails."""
        assert self.process.stdin is not None
        print(json.dumps([name, calls]), file=self.process.stdin, flush=True)
        return self._reply()


def serve(pattern: str) -> None:
    """What one of the processes does."""
    # The peers' sides are not built: they are as if not installed.
    sys.modules.update({"equinox": None, "flax": None})  # pyright: ignore[reportArgumentType, reportCallIssue]
    replies, sys.stdout = sys.stdout, sys.stderr
    run = importlib.import_module("run")
    cases = {}
    for file in sorted(HERE.glob("cases_*.py")):
        try:
            found = importlib.import_module(file.stem).cases()
        except Exception as error:  # it is about what one revision lacks
            print(f"{file.stem}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for case in found:
            full = case if hasattr(case, "name") else run.Case(*case)
            if isinstance(full, run.Case) and re.search(pattern, f"{file.stem}: {full.name}"):
                cases[f"{file.stem}: {full.name}"] = full
    _write(replies, list(cases))
    for line in sys.stdin:
        name, calls = json.loads(line)
        case = cases[name]
        try:
            if case.own_clock:
                _write(replies, 1 if calls is None else case.ours())
            elif calls is None:
                _write(replies, run.calibrate(case.ours))
            else:
                _write(replies, run.spend(case.ours, calls) / calls)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            _write(replies, None)


def _write(stream: IO[str], value: Any) -> None:
    print(json.dumps(value), file=stream, flush=True)


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def compare(before: Side, now: Side, name: str, rounds: int) -> tuple[float, float] | None:
    """The medians (seconds a call), or None where one of them cannot run it."""
    sides = [before, now]
    calls = [side.ask(name, None) for side in sides]
    if None in calls:
        return None
    times: list[list[float]] = [[], []]
    for turn in range(rounds):
        for i in (0, 1) if turn % 2 else (1, 0):
            times[i].append(sides[i].ask(name, calls[i]))
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> int:
    parser = argparse.ArgumentParser(description="Time this checkout beside another revision.")
    parser.add_argument("revision")
    parser.add_argument("--only", default="", metavar="PATTERN")
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--limit", type=float, default=1.03, help="default: %(default)s")
    options = parser.parse_args()
    worse, absent = [], []
    with checkout(options.revision) as tree:
        before, now = Side(tree, options.only), Side(ROOT, options.only)
        print(f"| case | {options.revision} (us) | now (us) | ratio |\n|---|---:|---:|---:|")
        for name in now.names:
            medians = name in before.names and compare(before, now, name, options.rounds)
            if not medians:
                absent.append(name)
                continue
            ratio = medians[1] / medians[0]
            if ratio > options.limit:
                worse.append(name)
            print(f"| {name} | {medians[0] * 1e6:.4g} | {medians[1] * 1e6:.4g} | {ratio:.3f} |")
    for name in absent:
        print(f"not at {options.revision}, or not to be run there: {name}")
    for name in worse:
        print(f"above {options.limit}: {name}")
    return bool(worse)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(main())
