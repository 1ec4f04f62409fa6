"""Tables of strings as text, markdown or HTML. `right`: the columns that are aligned right."""

import html
from collections.abc import Sequence, Set

Row = Sequence[str]


def to_text(header: Row, rows: Sequence[Row], total: Row, right: Set[str]) -> str:
    """A table of plain text, with rules below the header and above the total."""
    widths = [max(map(len, column)) for column in zip(header, *rows, total, strict=True)]

    def line(row: Row) -> str:
        cells = zip(row, widths, header, strict=True)
        return "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width) for cell, width, name in cells
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(header), rule, *map(line, rows), rule, line(total)])


def to_markdown(header: Row, rows: Sequence[Row], total: Row, right: Set[str]) -> str:
    """A table of GitHub's markdown; paths are code."""

    def line(row: Row) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    def code(row: Row) -> Row:
        return [f"`{row[0]}`", *row[1:]]

    rule = ["---:" if name in right else "---" for name in header]
    return "\n".join([line(header), line(rule), *(line(code(row)) for row in rows), line(total)])


def to_html(header: Row, rows: Sequence[Row], total: Row, right: Set[str]) -> str:
    """A `<table>`, whose every cell is escaped."""

    def line(row: Row, tag: str) -> str:
        cells = (
            f'<{tag} style="text-align: {"right" if name in right else "left"}">'
            f"{html.escape(cell)}</{tag}>"
            for cell, name in zip(row, header, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return (
        f"<table>\n<thead>\n{line(header, 'th')}\n</thead>\n<tbody>\n{body}\n</tbody>\n"
        f"<tfoot>\n{line(total, 'td')}\n</tfoot>\n</table>"
    )
