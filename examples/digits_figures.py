"""The two pictures of `digits_cnn.py`."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # files only: no window, no display needed
import matplotlib.pyplot as plt

RIGHT, WRONG, TRAIN, VALIDATION = "#2b7a3d", "#c0392b", "#4063a8", "#d9822b"
ROWS, COLUMNS = 5, 8


def draw_curve(history: list[dict[str, float]], test_accuracy: float, path: Path) -> None:
    """Loss and accuracy of train and validation after each epoch, side by side."""
    epochs = [measured["epoch"] for measured in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    figure.suptitle(f"Convolutional network on digits: {test_accuracy:.2%} right on the test set")
    marker = "o" if len(epochs) < 40 else None
    for axes, what in ((left, "loss"), (right, "accuracy")):
        for part, colour in (("train", TRAIN), ("validation", VALIDATION)):
            values = [measured[f"{part} {what}"] for measured in history]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3, label=part)
        axes.set(xlabel="epoch", title=f"{what.capitalize()} after each epoch, without dropout")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    left.set(ylabel="mean cross-entropy (nats)", yscale="log")
    right.set(ylabel="share of digits that are right")
    right.axhline(test_accuracy, color="0.35", linestyle="--", label="test, at the end")
    right.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    for axes in (left, right):
        axes.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_predictions(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, path: Path
) -> None:
    """Test digits with what was predicted, wrong ones first; and the confusion matrix."""
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    right = np.flatnonzero(predicted == labels)
    shown = [*wrong[: ROWS * COLUMNS // 2], *right][: ROWS * COLUMNS]

    figure = plt.figure(figsize=(15, 6.6), layout="constrained")
    figure.suptitle(f"{len(labels):,} test digits: {len(right):,} right, {len(wrong):,} wrong")
    left, matrix = figure.subfigures(1, 2, width_ratios=[1.35, 1])
    left.suptitle("Predictions; wrong ones first, in red", fontsize="medium")
    for axes, i in zip(left.subplots(ROWS, COLUMNS).flat, shown, strict=False):
        _draw_digit(axes, images[i, 0], labels[i], predicted[i])
    for axes in left.axes[len(shown) :]:
        axes.axis("off")
    _draw_confusion(matrix, labels, predicted)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_digit(axes: plt.Axes, image: np.ndarray, label: int, predicted: int) -> None:
    fine = predicted == label
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    text = f"{predicted}" if fine else f"{predicted}, is {label}"
    axes.set_title(text, color=RIGHT if fine else WRONG, fontweight="bold", fontsize="medium")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(color="0.7" if fine else WRONG, linewidth=0.8 if fine else 2.5)


def _draw_confusion(
    figure: mpl.figure.SubFigure, labels: np.ndarray, predicted: np.ndarray
) -> None:
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    figure.suptitle("Confusion matrix (number of test digits)", fontsize="medium")
    axes = figure.subplots()
    # Coloured by the share of each row, so that rare digits show as well as frequent ones.
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmax=1.0)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if row == column else WRONG
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
    axes.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
