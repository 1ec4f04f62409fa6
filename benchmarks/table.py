"""The results as tables in Markdown, one for each file of cases.

python benchmarks/table.py     writes those of `latest.json` into README.md
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from results import LATEST, OURS, PEER, Result

README = Path(__file__).parent / "README.md"


def tables(found: Sequence[Result]) -> str:
    files = dict.fromkeys(result["file"] for result in found)
    return "\n\n".join(
        f"{file.removeprefix('cases_').replace('_', ' ')}\n\n"
        + one([result for result in found if result["file"] == file])
        for file in files
    )


def one(found: Sequence[Result]) -> str:
    """Peers that most rows have get a column; those of few rows stand together in the last."""
    others = dict.fromkeys(side for result in found for side in result["ratios"])
    columns = [side for side in others if 2 * sum(side in r["ratios"] for r in found) > len(found)]
    beside = any(result["ratios"].keys() - set(columns) for result in found)
    head = ["case", OURS, *(f"to {side}" for side in columns), *(["beside"] if beside else [])]
    rows = [
        [
            result["case"],
            show_time(result["seconds"][OURS]),
            *(_ratio(result, side) for side in columns),
            *([_beside(result, columns)] if beside else []),
            _limit(result),
        ]
        for result in found
    ]
    return markdown([*head, "limit"], rows)


def _ratio(result: Result, side: str) -> str:
    if side not in result["ratios"]:
        return ""
    spread = "-".join(f"{q:.2f}" for q in result["spread"]) if side == PEER else ""
    return f"{result['ratios'][side]:.3f}" + (f" ({spread})" if spread else "")


def _beside(result: Result, columns: Iterable[str]) -> str:
    rest = [side for side in result["ratios"] if side not in columns]
    return ", ".join(f"{result['ratios'][side]:.2f} of {side}" for side in rest)


def _limit(result: Result) -> str:
    limits = ", ".join(_of(*item) for item in result["limits"].items())
    return f"{limits} MISSED" if result["verdict"] == "MISSED" else limits


def _of(side: str, limit: float) -> str:
    return f"{limit:g} ms" if side == "ms" else f"{limit:g}" + f" of {side}" * (side != PEER)


def show_time(seconds: float) -> str:
    return (
        f"{seconds:.3g} s"
        if seconds >= 1
        else f"{seconds * 1e3:.3g} ms"
        if seconds >= 1e-3
        else f"{seconds * 1e6:.3g} us"
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def main() -> None:
    latest = json.loads(LATEST.read_text())
    found: list[Result] = latest["results"]
    dates = sorted({result["date"] for result in found})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    machines = "; ".join(dict.fromkeys(result["machine"] for result in found))
    text = f"{when}, {machines}; {latest['versions']}.\n\n{tables(found)}"
    marked = r"(<!-- table -->\n).*?(<!-- end -->)"
    page = README.read_text()
    assert re.search(marked, page, re.DOTALL), "README.md has no place for the table"
    README.write_text(re.sub(marked, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
