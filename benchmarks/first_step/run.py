"""From `python train.py` to the first training step, phase by phase.

    hatch run bench:first-step [--rounds N] [--blocks 12,48] [--only SIDES] [--json FILE]

A GPT, 256 wide, sequences of 128, batch of 4, adamw, is written in each library as its
documentation has it. Each side runs in a process of its own, all sides in turn in each round; what
is printed are medians, in seconds. JAX and optax are imported beforehand: all sides need them.
"""

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax

PHASES = ("import", "init", "trace and lower", "compile", "step")
# Of each side, how its blocks run: a loop of Python, or one compiled block.
SIDES = {
    "ours": ("loop", "stacked", "scan"),
    "Equinox": ("loop", "scan"),
    "flax.nnx": ("loop", "scan"),
    "plain JAX": ("loop", "scan"),
}
# Of the best peer's total: of those with a loop of Python, of those with one compiled block.
LIMITS = {"loop": 0.4, "stacked": 0.25}


def pieces_of(side: str, blocks: int, how: str) -> tuple[Any, Any]:
    if side == "flax.nnx":
        from flax_nnx import pieces
    elif side == "plain JAX":
        from plain_jax import pieces
    else:
        from gpt import pieces as of_namespace

        eqx = importlib.import_module("equinox" if side == "Equinox" else "equinoctial")
        return of_namespace(eqx, blocks, how)
    return pieces(blocks, how)


def measure(side: str, blocks: int, how: str) -> dict[str, float]:
    """One side in this process, which is new."""
    assert optax is not None and jax.devices()
    spent: dict[str, float] = {}

    def timed(phase: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        jax.block_until_ready([x for x in jax.tree.leaves(result) if isinstance(x, jax.Array)])
        spent[phase] = time.perf_counter() - start
        return result

    init, step = timed("import", lambda: pieces_of(side, blocks, how))
    model, state = timed("init", init)
    batch = importlib.import_module("gpt").tokens()
    lowered = timed("trace and lower", lambda: step.lower(model, state, batch))
    compiled = timed("compile", lowered.compile)
    timed("step", lambda: compiled(model, state, batch))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return spent | {"total": sum(spent.values()), "GB": peak}


def in_a_new_process(side: str, blocks: int, how: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", side, str(blocks), how]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side}, {blocks} blocks, {how}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"  {blocks} blocks, {how}, {side}: {found['total']:.1f} s", file=sys.stderr, flush=True)
    return found


def table(results: list[dict[str, Any]]) -> str:
    columns = (*PHASES, "total", "GB")
    lines = ["| blocks | how | | " + " | ".join(columns) + " | of the best peer |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    for r in results:
        peers = [
            o["total"]
            for o in results
            if o["side"] != "ours" and o["blocks"] == r["blocks"]
            and (o["how"] == "loop") == (r["how"] == "loop")
        ]  # fmt: skip
        ratio = f"{r['total'] / min(peers):.2f}" if r["side"] == "ours" and peers else ""
        if ratio and r["how"] in LIMITS:
            ratio += f" ({LIMITS[r['how']]})"
        cells = " | ".join(f"{r[name]:.2f}" for name in columns)
        lines.append(f"| {r['blocks']} | {r['how']} | {r['side']} | {cells} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to the first step of training.")
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "BLOCKS", "HOW"), help="in this process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", default="12,48")
    parser.add_argument("--only", default="", help="sides, such as ours,Equinox")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.one:
        side, blocks, how = options.one
        print(json.dumps(measure(side, int(blocks), how)))
        return
    cases = [
        (side, int(blocks), how)
        for blocks in options.blocks.split(",")
        for side, ways in SIDES.items()
        for how in ways
        if not options.only or side in options.only.split(",")
    ]
    rounds = [[in_a_new_process(*case) for case in cases] for _ in range(options.rounds)]
    results = [
        {"side": side, "blocks": blocks, "how": how}
        | {name: statistics.median(each[i][name] for each in rounds) for name in rounds[0][i]}
        for i, (side, blocks, how) in enumerate(cases)
    ]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
