"""What saving and loading cost: time beside Equinox and beside plain files, and memory.

    python benchmarks/files.py [--megabytes 64 1024] [--rounds 7]

The sides take turns. Before each is timed, what others wrote is brought to the disk, and each has a
file of its own, which it replaces. "plain" writes, or reads, the bytes of each leaf with nothing
around them; "plain + fsync" also waits for the disk, as both of our formats do. Memory is the peak
of a fresh process above what it held before and above the tree, in units of the largest leaf.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from case import peer

import tree_surgery as ts

LEAF = 1 << 24  # bytes
FORMATS: dict[str, tuple[Any, Any]] = {
    "ours, by name": (ts.save, ts.load),
    "ours, in order": (ts.tree_serialise_leaves, ts.tree_deserialise_leaves),
}


def tree(megabytes: int) -> list[jax.Array]:
    count = (megabytes << 20) // LEAF
    return [
        jnp.asarray(np.random.default_rng(i).random(LEAF // 4, np.float32)) for i in range(count)
    ]


def write_plain(path: Path, leaves: list[jax.Array], sync: bool) -> None:
    with path.open("wb") as file:
        for leaf in leaves:
            file.write(np.asarray(leaf).data.cast("B"))
        if sync:
            file.flush()
            os.fsync(file.fileno())


def read_plain(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read()


def sides(folder: Path, leaves: list[jax.Array]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Who writes, and who reads what was written."""
    writes: dict[str, Callable[[], Any]] = {
        "plain": lambda: write_plain(folder / "plain", leaves, False),
        "plain + fsync": lambda: write_plain(folder / "synced", leaves, True),
    }
    reads: dict[str, Callable[[], Any]] = {"plain": lambda: read_plain(folder / "plain")}
    formats = dict(FORMATS)
    equinox = peer()
    if equinox is not None:
        formats["Equinox"] = (equinox.tree_serialise_leaves, equinox.tree_deserialise_leaves)
    for i, (name, (write, read)) in enumerate(formats.items()):
        path = folder / f"model{i}"
        writes[name] = lambda write=write, path=path: write(path, leaves)
        reads[name] = lambda read=read, path=path: jax.block_until_ready(read(path, leaves))
    return writes, reads


def timed(work: dict[str, Callable[[], Any]], rounds: int, settle: bool) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in work}
    order = list(work)
    for _ in range(rounds + 1):
        for name in order:
            if settle:
                os.sync()
            start = time.perf_counter()
            result = work[name]()
            times[name].append(time.perf_counter() - start)
            del result
        order.reverse()
    return {name: values[1:] for name, values in times.items()}  # the first warms up


def show(what: str, times: dict[str, list[float]]) -> None:
    for name, values in times.items():
        ratios = [
            f"{statistics.median(a / b for a, b in zip(values, times[other], strict=True)):.2f}"
            if other in times
            else ""
            for other in ("Equinox", "plain", "plain + fsync")
        ]
        print(
            f"| {what:13} | {name:14} | {statistics.median(values) * 1e3:7.1f} ms "
            f"| {min(values) * 1e3:7.1f} ms | {' | '.join(f'{r:7}' for r in ratios)} |"
        )


def resident(peak: bool = False) -> int:
    """Bytes of memory that this process has, or has had at most since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:" if peak else "VmRSS:")[2].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def child(what: str, name: str, path: str) -> None:
    """In a process of its own: the peak above what was there before, and above the tree."""
    write, read = FORMATS[name]
    megabytes = 256
    if what == "save":
        leaves = tree(megabytes)
        write(path + "-first", [jnp.ones(1)])
        forget_peak()
        before = resident()
        write(path, leaves)
        print((resident(peak=True) - before) / LEAF)
        return
    structs = [jax.ShapeDtypeStruct((LEAF // 4,), jnp.float32)] * ((megabytes << 20) // LEAF)
    read(path + "-first", [jnp.ones(1)])
    forget_peak()
    before = resident()
    loaded = jax.block_until_ready(read(path, structs))
    print((resident(peak=True) - before - sum(x.nbytes for x in loaded)) / LEAF)


def memory(folder: Path) -> None:
    for name in FORMATS:
        for what in ("save", "load"):
            command = [sys.executable, __file__, "--child", what, name, str(folder / "memory")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"{what} {name}: {float(done.stdout):.2f} of the largest leaf above the tree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    print("| what | by | median | least | to Equinox | to plain | to plain + fsync |")
    print("|---|---|---|---|---|---|---|")
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            writes, reads = sides(Path(folder), tree(megabytes))
            show(f"save {megabytes} MB", timed(writes, arguments.rounds, settle=True))
            show(f"load {megabytes} MB", timed(reads, arguments.rounds, settle=False))
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder))


if __name__ == "__main__":
    main()
