"""What `plan` has found, as a value, as text and as a picture."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from xml.sax.saxutils import escape

from tree_surgery.extend import public

ITSELF = "the step itself"  # arrays of a module, or of the instance of a method
_SHOWN = 8
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")


@public
@dataclasses.dataclass(frozen=True)
class Collective:
    """What devices send to each other for one reason, in one part of a model.

    `kind` is XLA's name of it, `where` the path of modules. `count` is how often it runs in one
    call. `bytes` is what it handles on each device in all of these: the larger of its operands and
    its results.
    """

    kind: str
    where: str
    count: int
    bytes: int


@public
@dataclasses.dataclass(frozen=True)
class LargeArray:
    """One of the largest arrays that a program makes: its part on each device.

    `where` is the path of modules that computes it, `opcode` what XLA does there.
    """

    bytes: int
    dtype: str
    shape: tuple[int, ...]
    where: str
    opcode: str


@public
@dataclasses.dataclass(frozen=True)
class Plan:
    """What one call of a program needs of each device; see `plan`.

    **Attributes:**

    - `devices`: how many there are.
    - `arguments`: bytes on each device, by the name of the argument. Those of `plan(compiled)`
        have no names.
    - `argument_bytes`, `output_bytes`, `temporary_bytes`: what XLA has allotted on each device for
        arguments, results, and everything between, which are activations and workspace.
    - `donated_bytes`: how much of the output takes the memory of arguments.
    - `flops`: operations in products of matrices and in convolutions, of all devices together; a
        multiplication and an addition are two. `None` for `plan(compiled)`.
    - `collectives`: most bytes first.
    - `largest`: the largest arrays, largest first.
    - `is_exact`: whether loops and branches are known well enough for `flops` and `collectives`:
        a loop of unknown length counts as one step; of branches the longest counts in `flops`, and
        each in `collectives`; what a kernel of Pallas computes is not known.
    """

    devices: int
    arguments: Mapping[str, int]
    argument_bytes: int
    output_bytes: int
    donated_bytes: int
    temporary_bytes: int
    flops: int | None
    collectives: tuple[Collective, ...]
    largest: tuple[LargeArray, ...]
    is_exact: bool

    @property
    def total_bytes(self) -> int:
        """On each device: arguments, results that take no memory of theirs, and temporaries."""
        new = self.output_bytes - self.donated_bytes
        return self.argument_bytes + new + self.temporary_bytes

    def __str__(self) -> str:
        return as_text(self)

    def svg(self) -> str:
        """A picture: a bar of the memory of one device, and a bar for each kind of collective."""
        return as_svg(self)


def as_text(plan: Plan) -> str:
    """Three tables: memory, what is sent, and the largest arrays."""
    lines = [f"{plan.devices} devices; on each of them:"]
    lines += _table([(name, bytes_text(size)) for name, size in _parts(plan)], "  ")
    without = f", without {bytes_text(_unused(plan))} that nothing uses" if _unused(plan) else ""
    lines.append(f"  together {bytes_text(plan.total_bytes)}{without}")
    if plan.flops is not None:
        each = plan.flops / plan.devices
        lines.append(f"arithmetic: {each:.3g} FLOPs, {plan.flops:.3g} on all devices")
    lines.append("collectives:" if plan.collectives else "collectives: none")
    kinds = [(f"{kind} x{count:,}", bytes_text(size)) for kind, count, size in by_kind(plan)]
    lines += _table(kinds, "  ")
    lines += _table(
        [
            (f"{one.kind} x{one.count:,}", bytes_text(one.bytes), one.where)
            for one in plan.collectives[:_SHOWN]
        ],
        "    ",
    )
    lines.append("largest arrays:")
    lines += _table(
        [
            (bytes_text(one.bytes), f"{one.dtype}{list(one.shape)}", one.opcode, one.where)
            for one in plan.largest[:_SHOWN]
        ],
        "  ",
    )
    if not plan.is_exact:
        lines.append(
            "Loops of unknown length count as one step. Of branches the longest counts as "
            "arithmetic, and each as collectives."
        )
    return "\n".join(lines)


def as_svg(plan: Plan) -> str:
    """A bar for the memory of a device, in parts, and one for each kind of collective."""
    parts = _parts(plan)
    rows, y = [], 20
    rows.append(_words(10, y, f"{plan.devices} devices: {bytes_text(plan.total_bytes)} on each"))
    x, whole = 10.0, sum(size for _, size in parts) or 1
    for i, (name, size) in enumerate(parts):
        width, colour = 620 * size / whole, _COLOURS[i % len(_COLOURS)]
        rows.append(_bar(x, y + 10, width, colour, f"{name}: {bytes_text(size)}"))
        rows.append(_bar(10, y + 50 + 20 * i, 12, colour, name))
        rows.append(_words(28, y + 61 + 20 * i, f"{name}: {bytes_text(size)}"))
        x += width
    y += 80 + 20 * len(parts)
    most = max((size for _, _, size in by_kind(plan)), default=0) or 1
    for kind, count, size in by_kind(plan):
        rows.append(_words(10, y, f"{kind}, {count:,} times: {bytes_text(size)}"))
        rows.append(_bar(10, y + 6, 620 * size / most, _COLOURS[0], kind))
        y += 45
    body = "\n".join(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {y}" '
        f'font-family="sans-serif" font-size="13">\n{body}\n</svg>\n'
    )


def by_kind(plan: Plan) -> list[tuple[str, int, int]]:
    """Of each kind of collective how many there are, and their bytes; most bytes first."""
    counts: defaultdict[str, int] = defaultdict(int)
    sizes: defaultdict[str, int] = defaultdict(int)
    for one in plan.collectives:
        counts[one.kind] += one.count
        sizes[one.kind] += one.bytes
    return sorted(((kind, counts[kind], sizes[kind]) for kind in counts), key=lambda row: -row[2])


def bytes_text(count: int) -> str:
    """Bytes in decimal units, as makers of devices state them."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def _parts(plan: Plan) -> list[tuple[str, int]]:
    """What the memory of a device is for, in parts of which none is empty."""
    parts = list(plan.arguments.items())
    if (rest := plan.argument_bytes - sum(plan.arguments.values())) > 0:
        parts.append(("other arguments" if parts else "arguments", rest))
    parts.append(("output beyond donated", plan.output_bytes - plan.donated_bytes))
    parts.append(("activations and workspace", plan.temporary_bytes))
    return [(name, size) for name, size in parts if size > 0]


def _unused(plan: Plan) -> int:
    """Bytes of arguments that XLA drops, since nothing needs them."""
    return max(sum(plan.arguments.values()) - plan.argument_bytes, 0)


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
