"""A tree in one line of an error message or a table."""

from typing import Any

from .pformat import tree_pformat

_WIDEST = 60


def one_line(x: Any) -> str:
    """`tree_pformat` without line breaks, cut off after 60 characters."""
    text = " ".join(tree_pformat(x, width=10**6, struct_as_array=True).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
