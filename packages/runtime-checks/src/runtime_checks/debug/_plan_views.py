"""A `Plan` as text and as a picture."""

from collections import defaultdict
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from ._plan import Plan

_SHOWN = 8
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")


def as_text(plan: "Plan") -> str:
    """Three tables: memory, what is sent, and the largest arrays."""
    lines = [f"{plan.devices} devices; on each of them:"]
    lines += _table([(name, size_of(size)) for name, size in _parts(plan)], "  ")
    lines.append(f"  together {size_of(plan.total_bytes)}")
    if plan.flops is not None:
        each = plan.flops / plan.devices
        lines.append(f"arithmetic: {each:.3g} FLOPs, {plan.flops:.3g} on all devices")
    lines.append("collectives:" if plan.collectives else "collectives: none")
    kinds = [(f"{kind} x{count:,}", size_of(size)) for kind, count, size in by_kind(plan)]
    lines += _table(kinds, "  ")
    lines += _table(
        [
            (f"{one.kind} x{one.count:,}", size_of(one.bytes), one.where)
            for one in plan.collectives[:_SHOWN]
        ],
        "    ",
    )
    lines.append("largest arrays:")
    lines += _table(
        [
            (size_of(one.bytes), f"{one.dtype}{list(one.shape)}", one.opcode, one.where)
            for one in plan.largest[:_SHOWN]
        ],
        "  ",
    )
    if not plan.is_exact:
        lines.append("Loops of unknown length count as one step, and of branches the longest.")
    return "\n".join(lines)


def as_svg(plan: "Plan") -> str:
    """A bar for the memory of a device, in parts, and one for each kind of collective."""
    parts = _parts(plan)
    rows, y = [], 20
    rows.append(_words(10, y, f"{plan.devices} devices: {size_of(plan.total_bytes)} on each"))
    x, whole = 10.0, max(plan.total_bytes, 1)
    for i, (name, size) in enumerate(parts):
        width, colour = 620 * size / whole, _COLOURS[i % len(_COLOURS)]
        rows.append(_bar(x, y + 10, width, colour, f"{name}: {size_of(size)}"))
        rows.append(_bar(10, y + 50 + 20 * i, 12, colour, name))
        rows.append(_words(28, y + 61 + 20 * i, f"{name}: {size_of(size)}"))
        x += width
    y += 80 + 20 * len(parts)
    most = max((size for _, _, size in by_kind(plan)), default=0) or 1
    for kind, count, size in by_kind(plan):
        rows.append(_words(10, y, f"{kind}, {count:,} times: {size_of(size)}"))
        rows.append(_bar(10, y + 6, 620 * size / most, _COLOURS[0], kind))
        y += 45
    body = "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {y}" '
        f'font-family="sans-serif" font-size="13">\n{body}\n</svg>\n'
    )


def by_kind(plan: "Plan") -> list[tuple[str, int, int]]:
    """Of each kind of collective how many there are, and their bytes; most bytes first."""
    counts: defaultdict[str, int] = defaultdict(int)
    sizes: defaultdict[str, int] = defaultdict(int)
    for one in plan.collectives:
        counts[one.kind] += one.count
        sizes[one.kind] += one.bytes
    return sorted(((kind, counts[kind], sizes[kind]) for kind in counts), key=lambda row: -row[2])


def size_of(count: int) -> str:
    """Bytes in decimal units, as makers of devices state them."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def _parts(plan: "Plan") -> list[tuple[str, int]]:
    """What the memory of a device is for. XLA drops arguments that nobody uses."""
    named = dict(plan.arguments)
    parts = list(named.items())
    if rest := plan.argument_bytes - sum(named.values()):
        parts.append(("arguments" if not named else "of which unused", rest))
    parts.append(("output beyond donated", plan.output_bytes - plan.donated_bytes))
    parts.append(("activations and workspace", plan.temporary_bytes))
    return [(name, size) for name, size in parts if size > 0]


def _table(rows: list[tuple[str, ...]], indent: str) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _bar(x: float, y: float, width: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="14" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _words(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'
