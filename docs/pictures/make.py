"""The pictures of the documentation: what a terminal shows, drawn.

    python docs/pictures/make.py

Runs the code that stands beside the pictures in `docs/looking.md` and draws what it prints.
"""

import contextlib
import io
import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
SIZE = 11.0  # points
DPI = 110
GROUND, INK = "#1b1e24", "#d7dae0"
COLOURS = {"- ": "#e06c75", "+ ": "#98c379", "~ ": "#e5c07b", "$ ": "#61afef"}


def blocks(text: str) -> list[tuple[str, str]]:
    """(name of the picture, code) of each block of code that a picture follows."""
    found = re.findall(r"```python\n(.*?)```\n+!\[[^\]]*\]\(pictures/(\w+)\.png\)", text, re.DOTALL)
    return [(name, code) for code, name in found]


def draw(name: str, text: str) -> None:
    """A terminal with these lines in it."""
    lines = text.rstrip("\n").splitlines()
    width, height = max(map(len, lines)), len(lines)
    inches = (0.602 * SIZE * width / 72 + 0.5, 1.45 * SIZE * height / 72 + 0.45)
    figure = plt.figure(figsize=inches, dpi=DPI, facecolor=GROUND)
    for i, line in enumerate(lines):
        figure.text(
            0.25 / inches[0],
            1 - (0.25 + 1.45 * SIZE * i / 72) / inches[1],
            line,
            family="DejaVu Sans Mono",  # comes with matplotlib: the same picture everywhere
            size=SIZE,
            color=COLOURS.get(line[:2], INK),
            va="top",
            parse_math=False,
        )
    figure.savefig(HERE / f"{name}.png", facecolor=GROUND, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    namespace: dict[str, object] = {}
    for name, code in blocks((HERE.parent / "looking.md").read_text()):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, f"looking.md: {name}", "exec"), namespace)
        draw(name, out.getvalue())
        print(f"{name}.png: {len(out.getvalue().splitlines())} lines")


if __name__ == "__main__":
    main()
