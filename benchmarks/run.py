"""Time what we do beside what others do, and print one table.

    hatch run bench [--only PATTERN] [--rounds N] [--json FILE] [--check]

Reads the cases of every `cases_*.py` here. README.md says how the table comes about, and how to
read it. With `--check` what is compared is the ratios to the peers with those in `latest.json`.
"""

import argparse
import importlib
import importlib.metadata
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import results
import table
from case import Absolute, Case, Thunk, nnx, peer
from results import OURS, PEER

HERE = Path(__file__).parent
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
    limits = ({PEER: case.limit} if case.limit is not None else {}) | dict(case.limits)
    return judged(case.name, times, limits)


def fresh(setup: str, statement: str) -> float:
    """Seconds of a statement in a process of its own."""
    code = (
        f"import time\n{setup}\n"
        f"start = time.perf_counter()\n{statement}\nprint(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{statement!r} failed in a fresh process:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def run_absolute(case: Absolute) -> dict[str, Any]:
    sides = {OURS: lambda: fresh(case.setup, case.statement)}
    if case.peer_statement and peer():
        sides[PEER] = lambda: fresh(case.setup, case.peer_statement or "")
    # The first time, which does not count, files come into the page cache and become bytecode.
    times = measure(sides, FRESH_PROCESSES, own_clock=True)
    limits = {} if case.limit is None else {PEER: case.limit}
    if case.limit_ms is not None:
        limits["ms"] = case.limit_ms
    return judged(case.name, times, limits)


def judged(name: str, times: dict[str, list[float]], limits: dict[str, float]) -> dict[str, Any]:
    """What the table and the JSON say of the seconds of each side and round."""
    medians = {side: statistics.median(values) for side, values in times.items()}
    ratios = {side: medians[OURS] / medians[side] for side in medians if side != OURS}
    each = [ours / other for ours, other in zip(times[OURS], times.get(PEER, []), strict=False)]
    spread = statistics.quantiles(each, n=4) if len(each) > 1 else []
    return {
        "case": name,
        "seconds": medians,
        "ratios": ratios,
        "spread": spread[::2],  # quartiles of the ratio to the peer over the rounds
        "limits": limits,
        "verdict": judge(ratios | {"ms": medians[OURS] * 1e3}, limits),
    }


def collect(pattern: str) -> Iterable[tuple[str, Case | Absolute]]:
    """(file, case) of every case whose name matches, in the order of the files and in theirs."""
    for file in sorted(HERE.glob("cases_*.py")):
        for case in importlib.import_module(file.stem).cases():
            full = case if isinstance(case, Case | Absolute) else Case(*case)
            if re.search(pattern, f"{file.stem}: {full.name}"):
                yield file.stem, full


def run(file: str, case: Case | Absolute, rounds: int) -> dict[str, Any]:
    print(f"  {case.name}", file=sys.stderr, flush=True)
    found = run_case(case, rounds) if isinstance(case, Case) else run_absolute(case)
    return {"file": file} | found


def check(pattern: str, rounds: int) -> int:
    """Compares with the file, and names what got worse.

    A busy machine makes a case worse by chance: one that is worse is measured again, with three
    times the rounds, before it is named.
    """
    before = {(r["file"], r["case"]): r for r in results.read(results.LATEST)}
    bad = []
    for file, case in collect(pattern):
        old = before.get((file, case.name))
        if old is None:
            print(f"not in {results.LATEST.name}: {case.name}")
            continue
        if not old["ratios"]:
            continue
        found = run(file, case, rounds)
        if results.worse(found, old):
            found = run(file, case, 3 * rounds)
        for side in results.worse(found, old):
            bad.append(f"{case.name}: {old['ratios'][side]:.3f} of {side} on {old['date']}")
            bad[-1] += f", now {found['ratios'][side]:.3f}"
    print("\n".join(f"worse: {line}" for line in bad) or "nothing is worse by more than a tenth")
    return bool(bad)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time what we do beside what others do.")
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="cases whose 'file: name' this is found in"
    )
    parser.add_argument("--rounds", type=int, help="default: 21; with --check 5")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="put the results into this file, too"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with latest.json; 1 if anything is worse"
    )
    options = parser.parse_args()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" if there else f"no {name}"
        for name, there in (("equinox", peer()), ("flax", nnx()))
    )
    print(f"{results.machine()}; {versions}", flush=True)
    if options.check:
        return check(options.only, options.rounds or 5)
    found = [run(file, case, options.rounds or 21) for file, case in collect(options.only)]
    if not found:
        parser.error(f"no case matches {options.only!r}")
    print(table.tables(found))
    if options.json:
        results.write(options.json, found, versions)
    return any(result["verdict"] == "MISSED" for result in found)


if __name__ == "__main__":
    sys.exit(main())
