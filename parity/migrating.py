"""Writes `docs/migrating.md` from `head.md` and `known.toml`.

With `--check`, only says whether it is up to date.

python parity/migrating.py [--check]
"""

import sys
from pathlib import Path

import compare
import registry

PAGE = Path(__file__).parents[1] / "docs" / "migrating.md"

HEAD = Path(__file__).parent / "head.md"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(known: list[compare.Known], programs: int) -> str:
    """The text of the page."""
    lines = [HEAD.read_text().format(programs=f"more than {programs // 100 * 100}")]
    areas = dict.fromkeys(entry.area for entry in known)
    for area in areas:
        lines += [f"\n### {area}\n", "| what | Equinox | here | why |", "|---|---|---|---|"]
        for entry in known:
            if entry.area == area:
                cells = map(cell, (entry.what, entry.equinox, entry.here, entry.why))
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> int:
    text = page(compare.load(), len(registry.load()))
    if "--check" in sys.argv:
        same = PAGE.exists() and PAGE.read_text() == text
        print(f"{PAGE.name} is {'up to date' if same else 'out of date'}")
        return 0 if same else 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
