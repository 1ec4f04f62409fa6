"""Compare all that is public with Equinox, in processes of their own.

    python parity/run.py [programs] [layers] [files] [--only REGEX] [--verbose]

`programs`: what each program of `programs/` returns, prints, warns of and raises, on either
namespace. `layers`: parameters, outputs, gradients and checkpoints of every layer over a grid of
options. `files`: what either writes, the other reads. Differences that are meant are listed, with
their reason, in `known.toml`, from which `migrating.py` makes `docs/migrating.md`. Exits with 1 for
any other, also for one that is listed and differs no longer. Needs Equinox (environment `bench`).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import compare
import layer_numbers
import run_programs

PARTS = ("programs", "layers", "files")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is given")
    parser.add_argument(
        "--only", default="", help="programs and layers whose name has this regular expression"
    )
    parser.add_argument("--verbose", action="store_true", help="print the known differences too")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    known = compare.load()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        for part, module in (("programs", run_programs), ("layers", layer_numbers)):
            if part in parts:
                folder = Path(name) / part
                folder.mkdir()
                faults += module.run(folder, options.only, known, options.verbose)
    if "files" in parts and not options.only:
        command = [sys.executable, str(Path(__file__).parent / "files.py")]
        faults += subprocess.run(command).returncode
    if set(parts) >= {"programs", "layers"} and not options.only:
        for pattern in compare.idle(known):
            print(f"known.toml lists {pattern!r}, where nothing differs any more")
            faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
