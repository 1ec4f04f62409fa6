"""Time what we do beside what others do, and print one table.

    python benchmarks/run.py [--only PATTERN] [--rounds N] [--json FILE]

Reads the cases of every `cases_*.py` here. README.md says how the table comes about, and how to
read it.
"""

import argparse
import importlib
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
from case import Absolute, Case, Thunk, nnx, peer

HERE = Path(__file__).parent
OURS, PEER = "ours", "Equinox"
ROUND_SECONDS = 0.01  # one measurement of one side: long enough for the clock's cost to vanish
FRESH_PROCESSES = 5


def calibrate(thunk: Thunk) -> int:
    """How many calls fill a round. Also warms up: compiles and caches what first use does."""
    number = 1
    thunk()
    while (spent := spend(thunk, number)) < ROUND_SECONDS / 2:
        number = max(number + 1, min(10 * number, int(number * ROUND_SECONDS / max(spent, 1e-9))))
    return number


def spend(thunk: Thunk, number: int) -> float:
    loop = range(number)
    start = time.perf_counter()
    for _ in loop:
        thunk()
    return time.perf_counter() - start


def measure(
    sides: dict[str, Thunk], rounds: int, own_clock: bool = False
) -> dict[str, list[float]]:
    """Seconds a call, for each side and round.

    The sides take turns within a round, so that a busy spell of the machine meets them all; every
    other round goes backwards, so that none is always first. The garbage collector stays on.
    """
    numbers = {side: 1 if own_clock else calibrate(thunk) for side, thunk in sides.items()}
    if own_clock:
        for thunk in sides.values():
            thunk()
    times: dict[str, list[float]] = {side: [] for side in sides}
    order = list(sides)
    for _ in range(rounds):
        for side in order:
            if own_clock:
                times[side].append(sides[side]())
            else:
                times[side].append(spend(sides[side], numbers[side]) / numbers[side])
        order.reverse()
    return times


def judge(ratios: dict[str, float], limits: dict[str, float]) -> str:
    known = [side for side in limits if side in ratios]
    if not known:
        return "-"
    return "ok" if all(ratios[side] <= limits[side] for side in known) else "MISSED"


def run_case(case: Case, rounds: int) -> dict[str, Any]:
    sides = {OURS: case.ours} | ({PEER: case.peer} if case.peer else {}) | dict(case.others)
    times = measure(sides, rounds, case.own_clock)
    medians = {side: statistics.median(values) for side, values in times.items()}
    ratios = {side: medians[OURS] / medians[side] for side in medians if side != OURS}
    limits = ({PEER: case.limit} if case.limit is not None else {}) | dict(case.limits)
    each = [ours / other for ours, other in zip(times[OURS], times.get(PEER, []), strict=False)]
    spread = statistics.quantiles(each, n=4) if len(each) > 1 else []
    return {
        "case": case.name,
        "seconds": medians,
        "ratios": ratios,
        "spread": spread[::2],  # quartiles of the ratio to the peer over the rounds
        "limits": limits,
        "verdict": judge(ratios, limits),
    }


def fresh(setup: str, statement: str) -> float:
    """Median seconds of a statement, each time in a process of its own."""
    code = (
        f"import time\n{setup}\n"
        f"start = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    )

    def once() -> float:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{statement!r} failed in a fresh process:\n{done.stderr}")
        return float(done.stdout.split()[-1])

    once()  # the files come into the page cache, and are compiled to bytecode
    return statistics.median(once() for _ in range(FRESH_PROCESSES))


def run_absolute(case: Absolute) -> dict[str, Any]:
    seconds = {OURS: fresh(case.setup, case.statement)}
    if case.peer_statement and peer():
        seconds[PEER] = fresh(case.setup, case.peer_statement)
    ratios = {PEER: seconds[OURS] / seconds[PEER]} if PEER in seconds else {}
    limits = {} if case.limit is None else {PEER: case.limit}
    if case.limit_ms is not None:
        limits["ms"] = case.limit_ms
    return {
        "case": case.name,
        "seconds": seconds,
        "ratios": ratios,
        "spread": [],
        "limits": limits,
        "verdict": judge(ratios | {"ms": seconds[OURS] * 1e3}, limits),
    }


def collect(pattern: str) -> Iterable[Case | Absolute]:
    """The cases of every file whose name matches, in the order of the files and in theirs."""
    for file in sorted(HERE.glob("cases_*.py")):
        for case in importlib.import_module(file.stem).cases():
            full = case if isinstance(case, Case | Absolute) else Case(*case)
            if re.search(pattern, f"{file.stem}: {full.name}"):
                yield full


def show_time(seconds: float | None) -> str:
    return (
        ""
        if seconds is None
        else f"{seconds * 1e6:.4g} us"
        if seconds < 1e-2
        else f"{seconds * 1e3:.4g} ms"
    )


def show_limit(side: str, limit: float) -> str:
    return (
        f"{limit:g} ms"
        if side == "ms"
        else f"{limit:g}"
        if side == PEER
        else f"{limit:g} of {side}"
    )


def table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    others = list(dict.fromkeys(s for r in results for s in r["seconds"] if s not in (OURS, PEER)))
    head = [
        "case",
        OURS,
        PEER,
        *others,
        "ratio",
        "quartiles",
        *(f"to {o}" for o in others),
        "limit",
        "",
    ]
    rows = []
    for r in results:
        ratios = [f"{r['ratios'][s]:.3f}" if s in r["ratios"] else "" for s in (PEER, *others)]
        rows.append([
            r["case"],
            *(show_time(r["seconds"].get(side)) for side in (OURS, PEER, *others)),
            ratios[0],
            "-".join(f"{q:.3f}" for q in r["spread"]),
            *ratios[1:],
            ", ".join(show_limit(*item) for item in r["limits"].items()),
            r["verdict"],
        ])  # fmt: skip
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |"
        for r in [head, *rows]
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def main() -> int:
    parser = argparse.ArgumentParser(description="Time what we do beside what others do.")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="cases whose 'file: name' this is found in"
    )
    parser.add_argument("--rounds", type=int, default=21, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    options = parser.parse_args()

    equinox = peer()
    machine = f"{platform.machine()}, Python {platform.python_version()}, JAX {jax.__version__}"
    print(f"{machine}, {f'Equinox {equinox.__version__}' if equinox else 'no Equinox'}", flush=True)
    if not equinox:
        print(
            "Equinox is not installed here: ours alone. `hatch run bench` installs it.", flush=True
        )
    if not nnx():
        print("flax is not installed here: no column of flax.nnx.", flush=True)
    results = []
    for case in collect(options.only):
        print(f"  {case.name}", file=sys.stderr, flush=True)
        results.append(
            run_case(case, options.rounds) if isinstance(case, Case) else run_absolute(case)
        )
    if not results:
        parser.error(f"no case matches {options.only!r}")
    print(table(results))
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine, "results": results}, indent=1) + "\n"
        )
    return any(result["verdict"] == "MISSED" for result in results)


if __name__ == "__main__":
    sys.exit(main())
