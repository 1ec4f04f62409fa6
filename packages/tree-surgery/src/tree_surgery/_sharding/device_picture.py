"""A picture of which device holds which part of each array, as SVG."""

import html
import math
from typing import Any

import jax.tree_util as jtu
from jax.sharding import NamedSharding

from tree_surgery._nodes.arrays import is_array_or_struct, sharding_of
from tree_surgery._nodes.key_paths import path_str

ROW, BAR, LEFT = 56, 40, 220  # pixels: height of a row and of its bar, width of the path
WIDTH = 640  # of the bar


def device_picture(tree: object) -> str:
    """One row for each array, split as the array is; a part names the devices that hold it.

    The first dimensions that are split run across, the next ones down. Arrays without a sharding
    have one part without a name.
    """
    rows = [(path_str(p), x) for p, x in jtu.tree_leaves_with_path(tree) if is_array_or_struct(x)]
    height = ROW * len(rows) + 16
    parts = [_bar(path, x, 8 + ROW * i) for i, (path, x) in enumerate(rows)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 16}" height="{height}" '
        f'font-family="sans-serif" font-size="11">\n' + "\n".join(parts) + "\n</svg>"
    )


def _bar(path: str, x: Any, top: int) -> str:
    text = (
        f'<text x="8" y="{top + 16}">{html.escape(path)}</text>'
        f'<text x="8" y="{top + 32}" fill="#666">{x.dtype}{list(x.shape)}</text>'
    )
    holders = _holders(x)
    across, down = _grid(x, len(holders))
    wide, high = WIDTH / across, BAR / down
    cells = [
        _cell(
            (LEFT + i // down * wide, top + i % down * high, wide, high),
            _colour(devices),
            _names(devices),
        )
        for i, devices in enumerate(holders)
    ]
    return text + "".join(cells)


def _cell(box: tuple[float, float, float, float], colour: str, name: str) -> str:
    x, y, wide, high = box
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{colour}" '
        f'stroke="#fff"/><text x="{x + wide / 2:.1f}" y="{y + high / 2 + 4:.1f}" '
        f'text-anchor="middle">{html.escape(name)}</text>'
    )


def _holders(x: Any) -> list[list[int]]:
    """For each distinct part of an array, in order of its indices, the numbers of its devices."""
    sharding = sharding_of(x)
    if sharding is None:
        return [[]]
    shape = tuple(x.shape)
    by_part: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for device, index in sharding.devices_indices_map(shape).items():
        part = tuple(
            (where.start or 0, size if where.stop is None else where.stop)
            for where, size in zip(index, shape, strict=True)
        )
        by_part.setdefault(part, []).append(device.id)
    return [sorted(by_part[part]) for part in sorted(by_part)]


def _grid(x: Any, count: int) -> tuple[int, int]:
    """How many parts stand side by side, and how many below each other."""
    sharding = sharding_of(x)
    if count == 1 or not isinstance(sharding, NamedSharding):
        return count, 1
    part = sharding.shard_shape(tuple(x.shape))
    splits = [n // m for n, m in zip(x.shape, part, strict=True) if m and n != m]
    across = splits[0] if len(splits) > 1 else count
    return across, math.ceil(count / across)


def _colour(devices: list[int]) -> str:
    if not devices:
        return "#eee"
    return f"hsl({devices[0] * 47 % 360}, 60%, 80%)"


def _names(devices: list[int]) -> str:
    if len(devices) > 4:
        return f"{devices[0]}, {devices[1]}, … {devices[-1]}"
    return ", ".join(map(str, devices))
