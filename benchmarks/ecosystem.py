"""Time typical programs of libraries written for Equinox, on the alias beside Equinox itself.

    hatch run ecosystem:bench [--only PATTERN] [--rounds N] [--json FILE]

Each side runs in processes of its own. They take turns, every other round backwards, so that a busy
spell of the machine meets both. What counts is the median over the rounds of the ratio within one
round; wall and CPU time are given beside each other, since other programs lengthen only the first.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

CASES = Path(__file__).parent / "ecosystem_cases.py"
SIDES = {"ours": ("-m", "equinoctial.as_equinox"), "Equinox": ()}
NAMES = ("lineax", "optimistix", "diffrax", "diffrax-stiff", "flowjax")
PHASES = ("first trace", "trace", "compile", "run")

Times = dict[str, list[float]]
"""Of each phase the seconds, wall and CPU."""


def once(name: str, side: str) -> Times:
    command = [sys.executable, *SIDES[side], str(CASES), name]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{name} on {side}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def rounds_of(name: str, rounds: int) -> dict[str, list[Times]]:
    times: dict[str, list[Times]] = {side: [] for side in SIDES}
    order = list(SIDES)
    for number in range(rounds):
        for side in order:
            times[side].append(once(name, side))
        order.reverse()
        print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr)
    return times


def row(name: str, phase: str, times: dict[str, list[Times]]) -> str:
    cells = [name, phase]
    ratios: list[str] = []
    for clock in (0, 1):
        ours, theirs = ([one[phase][clock] for one in times[side]] for side in SIDES)
        if clock == 0:
            cells += [f"{1e3 * statistics.median(x):.4g}" for x in (ours, theirs)]
        pairs = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        ratios.append(f"{statistics.median(pairs):.2f} ({pairs[0]:.2f}-{pairs[-1]:.2f})")
    return "| " + " | ".join(cells + ratios) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression for names of cases")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write all measurements")
    options = parser.parse_args()
    found = {
        name: rounds_of(name, options.rounds) for name in NAMES if re.search(options.only, name)
    }
    if options.json:
        options.json.write_text(json.dumps(found))
    with_versions = ", ".join(
        f"{name} {version(name)}" for name in ("jax", "equinox", "lineax", "optimistix", "diffrax")
    )
    print(f"{options.rounds} rounds; Python {platform.python_version()}, {with_versions}\n")
    print("| program | phase | ours, ms | Equinox, ms | ratio, wall | ratio, CPU |")
    print("|---|---|---:|---:|---:|---:|")
    for name, times in found.items():
        for phase in PHASES:
            print(row(name, phase, times))


if __name__ == "__main__":
    main()
