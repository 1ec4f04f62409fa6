"""The picture of `docs/speed.md`: the time of each case of the benchmark, of Equinox's.

    python docs/pictures/speed.py

Reads `benchmarks/latest.json`.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
LATEST = HERE.parents[1] / "benchmarks" / "latest.json"
FASTER, SLOWER = "#2f7d4f", "#b3392f"
TICKS = (0.001, 0.01, 0.1, 0.25, 0.5, 1, 2)


def ratios() -> dict[str, list[float]]:
    """The ratios of the cases of each file, which is a topic."""
    found: dict[str, list[float]] = {}
    for result in json.loads(LATEST.read_text())["results"]:
        if "Equinox" in result["ratios"]:
            topic = result["file"].removeprefix("cases_").replace("_", " ")
            found.setdefault(topic, []).append(result["ratios"]["Equinox"])
    return found


def main() -> None:
    found = ratios()
    figure, axes = plt.subplots(figsize=(7.2, 0.36 * len(found) + 0.9), dpi=110)
    for row, values in enumerate(reversed(found.values())):
        colours = [FASTER if value <= 1 else SLOWER for value in values]
        axes.scatter(values, [row] * len(values), s=26, c=colours, alpha=0.55, linewidths=0)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_yticks(range(len(found)), list(reversed(found)))
    axes.set_xlabel("our time, of Equinox's")
    axes.grid(axis="x", linewidth=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "speed.png")


if __name__ == "__main__":
    main()
