"""One transformer on one mesh, written four times: what each takes, sends and costs.

    python benchmarks/sharded_peers/run.py

Four blocks of attention and an MLP, 128 wide, 4 heads; 16 sequences of 64; parameters by FSDP over
"data" and tensor parallelism over "model", on 2 x 2 virtual CPU devices. Each side is a file of
this folder, written as its documentation has it, and runs in a process of its own: its lines, the
collectives of its compiled step, bytes on each device, and the time until a call of the compiled
step returns.
"""

import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
SIDES = {"plain JAX": "plain_jax", "flax.nnx": "flax_nnx", "haliax": "on_haliax", "ours": "ours"}
KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
CALLS = 60


def lines_of_code(name: str) -> int:
    text = (HERE / f"{name}.py").read_text()
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines()
    )


def collectives(text: str) -> dict[str, int]:
    """How many collectives there are of each kind in a compiled program."""
    found = re.findall(rf" ({'|'.join(KINDS)})(?:-start)?\(", text)
    return dict(Counter(found))


def measure(name: str) -> dict[str, object]:
    import jax
    import numpy as np

    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    x = np.random.default_rng(0).standard_normal((16, 64, 128)).astype(np.float32)
    with jax.set_mesh(mesh):
        step, model, x = importlib.import_module(name).setup(mesh, x)
        arrays = [leaf for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.Array)]
        held = sum(leaf.addressable_shards[0].data.nbytes for leaf in arrays)
        compiled = step.lower(model, x).compile()
        compiled = getattr(compiled, "compiled", compiled)  # Equinox's wrapper has not all of it
        memory = compiled.memory_analysis()
        text = compiled.as_text()
        spent = []
        for _ in range(CALLS):
            start = time.perf_counter()
            new = step(model, x)
            spent.append(time.perf_counter() - start)
            model = model if new is None else new
            jax.block_until_ready([v for v in jax.tree.leaves(model) if isinstance(v, jax.Array)])
    return {
        "lines": lines_of_code(name),
        "parameters": sum(leaf.size for leaf in arrays),
        "held": held,
        "temporaries": memory.temp_size_in_bytes,
        "collectives": collectives(text),
        "dispatch": statistics.median(spent[10:]),
    }


def main() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    print("| | lines | parameters | KB of them, each | KB of work, each | collectives | call, us |")
    print("|---|---|---|---|---|---|---|")
    for side, name in SIDES.items():
        done = subprocess.run(
            [sys.executable, __file__, name], env=os.environ | flags, capture_output=True, text=True
        )
        if done.returncode:
            print(f"| {side} | did not run: {done.stderr.strip().splitlines()[-1]} |")
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(row["collectives"].items()))
        print(
            f"| {side} | {row['lines']} | {row['parameters']:,} | {row['held'] / 1e3:.0f} | "
            f"{row['temporaries'] / 1e3:.0f} | {kinds} | {row['dispatch'] * 1e6:.0f} |"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
