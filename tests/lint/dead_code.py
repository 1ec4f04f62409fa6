"""Nothing in the packages is unused, but what `dead_code.toml` lists with a reason.

    python tests/lint/dead_code.py

vulture looks for names that are defined and never mentioned. A mention in a test does not count:
what only tests use is dead. An exception that excepts nothing is out of date, and fails too.
"""

import fnmatch
import sys
import tomllib
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[2]
EXCEPTIONS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["exception"]


def main() -> int:
    for exception in EXCEPTIONS:
        assert exception["reason"] and exception["names"], exception
    patterns = [pattern for exception in EXCEPTIONS for pattern in exception["names"]]
    vulture = Vulture()
    vulture.scavenge([ROOT / "packages"])
    unused = vulture.get_unused_code()
    dead = [item for item in unused if not any(fnmatch.fnmatchcase(item.name, p) for p in patterns)]
    for item in dead:
        where = Path(item.filename).relative_to(ROOT)
        print(f"{where}:{item.first_lineno}: {item.typ} `{item.name}` is never used")
    idle = [p for p in patterns if not any(fnmatch.fnmatchcase(item.name, p) for item in unused)]
    for pattern in idle:
        print(f"tests/lint/dead_code.toml: `{pattern}` excepts nothing")
    return int(bool(dead or idle))


if __name__ == "__main__":
    sys.exit(main())
