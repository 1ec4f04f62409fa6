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


def main() -> None:
    results = json.loads(LATEST.read_text())["results"]
    found = [
        (result["file"].removeprefix("cases_").replace("_", " "), result["ratios"]["Equinox"])
        for result in results
        if "Equinox" in result["ratios"]
    ]
    topics = list(dict.fromkeys(topic for topic, _ in found))[::-1]
    figure, axes = plt.subplots(figsize=(7.2, 0.36 * len(topics) + 0.9), dpi=110)
    for row, topic in enumerate(topics):
        ratios = [ratio for other, ratio in found if other == topic]
        colours = [FASTER if ratio <= 1 else SLOWER for ratio in ratios]
        axes.scatter(ratios, [row] * len(ratios), s=26, c=colours, alpha=0.55, linewidths=0)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [
        tick for tick in (0.001, 0.01, 0.1, 0.25, 0.5, 1, 2) if tick >= min(r for _, r in found) / 2
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(topics)), topics)
    axes.set_xlabel("our time, of Equinox's")
    axes.grid(axis="x", linewidth=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "speed.png")


if __name__ == "__main__":
    main()
