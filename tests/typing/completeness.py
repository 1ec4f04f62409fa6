"""How much of each distribution's public interface has a full type, as pyright counts it.

`hatch run types` runs this last. It prints the share of the public symbols whose types are known
in full, and fails where a distribution falls below its floor. A floor is only ever raised.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FLOORS = {  # per cent
    "tree_surgery": 100.0,
    "pytree_module": 100.0,
    "filtered_transforms": 100.0,
    "runtime_checks": 100.0,
    "nn_layers": 100.0,
    "equinoctial": 100.0,
}


def verified(name: str) -> dict[str, Any]:
    """What `pyright --verifytypes` reports of a distribution."""
    sources = os.pathsep.join(map(str, sorted(ROOT.glob("packages/*/src"))))
    done = subprocess.run(
        ["pyright", "--verifytypes", name, "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):  # 1: some types are not known
        raise SystemExit(f"pyright failed on `{name}`:\n{done.stdout}\n{done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return report


def main() -> int:
    below = 0
    for name, floor in FLOORS.items():
        report = verified(name)
        share = 100 * report["completenessScore"]
        counts = report["exportedSymbolCounts"]
        short = share < floor
        below += short
        print(
            f"{name:<20} {share:6.2f} %  (floor {floor:g} %): {counts['withKnownType']} known, "
            f"{counts['withAmbiguousType']} ambiguous, {counts['withUnknownType']} unknown"
            + ("  BELOW ITS FLOOR" if short else "")
        )
        for symbol in report["symbols"] if short or "-v" in sys.argv[1:] else ():
            if symbol["isExported"] and not symbol["isTypeKnown"]:
                print(f"  {symbol['name']}")
    return int(below > 0)


if __name__ == "__main__":
    raise SystemExit(main())
