"""Runs every program on both namespaces, in a process each, and compares what they do.

Part of `run.py`. Exits with 1 if something differs that is not listed in `known.toml`, if something
listed there differs no longer, or if a public name has no program.
"""

import importlib
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import compare
import observe
import registry

ROOT = Path(__file__).parents[1]
SIDES = {"ours": "equinoctial", "peer": "equinox"}
PARTS = ("outcome", "printed", "warnings")


def names() -> list[str]:
    """All public names, as after `eqx.`."""
    data = ROOT / "tests" / "integration" / "data" / "namespace.json"
    spaces = json.loads(data.read_text())["namespaces"]
    return [
        f"{space}.{name}".removeprefix("equinoctial.") for space in spaces for name in spaces[space]
    ]


def write(side: str, folder: Path, only: str) -> None:
    """Runs the programs on one namespace, and writes down what they do."""
    module = importlib.import_module(SIDES[side])
    found: dict[str, Any] = {}
    for name, own in registry.load().items():
        if not re.search(only, name):
            continue
        namespace = registry.Namespace(module)
        start = time.perf_counter()
        found[name] = observe.observe(own.function, namespace)
        found[name]["seconds"] = time.perf_counter() - start
        found[name]["unused"] = sorted(set(own.names) - namespace.taken)
    (folder / f"{side}.pickle").write_bytes(pickle.dumps(found))


def both(folder: Path, only: str) -> dict[str, dict[str, Any]]:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    for side in SIDES:
        command = [sys.executable, __file__, side, str(folder), only]
        subprocess.run(command, check=True, env=environment)
    return {side: pickle.loads((folder / f"{side}.pickle").read_bytes()) for side in SIDES}


def show(name: str, part: str, ours: dict[str, Any], peers: dict[str, Any], why: str) -> None:
    print(f"{name}: {part} differs{f' ({why})' if why else ''}")
    for side, found in (("ours", ours), ("peer", peers)):
        message = " ".join(found["message"].split())[:300]
        print(f"  {side}: {str(found[part])[:1500]}{'  ' + message if message else ''}")


def signatures() -> list[str]:
    """Where the parameters of a public name are not those of the peer."""
    wrong: list[str] = []
    for name in names():
        space, _, last = name.rpartition(".")
        ours, peers = (
            getattr(importlib.import_module(f"{top}.{space}".rstrip(".")), last)
            for top in SIDES.values()
        )
        try:
            wanted = inspect.signature(peers)
        except (TypeError, ValueError):
            continue  # a primitive, a dictionary, or a metaclass
        found = inspect.signature(ours).parameters.values()
        expected = [(p.name, p.kind.name, p.default is p.empty) for p in wanted.parameters.values()]
        optional = [
            p
            for p in found
            if p.name in wanted.parameters or p.kind is not p.KEYWORD_ONLY or p.default is p.empty
        ]
        mine = [(p.name, p.kind.name, p.default is p.empty) for p in optional]
        if mine != expected:
            wrong.append(f"{name}{inspect.signature(ours)}, but {wanted} at the peer")
    return wrong


def report(found: dict[str, dict[str, Any]], known: list[compare.Known], verbose: bool) -> int:
    """Prints what differs, and returns how much of it is not meant."""
    unexpected = 0
    for name, ours in found["ours"].items():
        peers = found["peer"][name]
        for part in PARTS:
            if compare.same(ours[part], peers[part]):
                continue
            entry = compare.reason(known, name, part)
            unexpected += entry is None
            if entry is None or verbose:
                show(name, part, ours, peers, entry.why if entry else "")
    return unexpected


def run(folder: Path, only: str, known: list[compare.Known], verbose: bool) -> int:
    """Runs all programs whose name matches, and returns the number of faults."""
    programs = registry.load()
    covered = {name for own in programs.values() for name in own.names}
    missing = [name for name in names() if name not in covered]
    wrong = signatures()
    found = both(folder, only)
    unexpected = report(found, known, verbose)
    unused = [
        f"{name} does not use {own['unused']}"
        for name, own in found["ours"].items()
        if own["unused"]
    ]
    for line in [*(f"no program for {name}" for name in missing), *unused, *wrong]:
        print(line)
    times = ", ".join(
        f"{side} {sum(own['seconds'] for own in found[side].values()):.0f} s" for side in SIDES
    )
    print(
        f"{len(found['ours'])} programs ({times}), {len(names()) - len(missing)} of {len(names())} "
        f"names: {unexpected} unexpected differences; {len(wrong)} signatures differ"
    )
    return unexpected + len(missing) + len(unused) + len(wrong)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
