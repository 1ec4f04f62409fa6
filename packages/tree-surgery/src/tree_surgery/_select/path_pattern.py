"""The syntax of path patterns: a pattern is parsed into steps, each of which matches keys.

A pattern is a path in which `*`, `?`, `**` and ranges of indices may stand for several keys, and
keys and indices may be dotted: `layers.*.weight`, `**.bias`, `layers[1:3]`, `table['a b']`.
"""

import ast
import fnmatch
import functools as ft
import re
from typing import Any

import jax.tree_util as jtu

from tree_surgery._errors import WhereError

_QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_STEP = re.compile(rf"\.?\[((?:{_QUOTED}|[^\]'\"])*)\]|\.?([^.\[\]]+)")
_SLICE = re.compile(r"\s*(-?\d*)\s*:\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?")


class Step:
    """One step of a pattern, which matches the keys of children. This class is `*`: any key.

    - `text`: the step as it is written.
    - `value`: what a key is compared with; its type depends on the subclass.
    - `exact`: whether the step matches one child at most, whatever the node.
    """

    __slots__ = ("exact", "text", "value")

    def __init__(self, text: str, value: Any = None, exact: bool = False):
        self.text = text
        self.value = value
        self.exact = exact

    def matches(self, key: Any, length: int) -> bool:
        """Whether the step matches a key of a node that has `length` children."""
        return True


class NameStep(Step):
    """`.name`: an attribute or a dictionary key. `*` and `?` in it match any letters."""

    __slots__ = ()

    def matches(self, key: Any, length: int) -> bool:
        name = name_of(key)
        return name == self.value if self.exact else fnmatch.fnmatchcase(name, self.value)


class ItemStep(Step):
    """`[0]`, `[-1]`, `['a b']`: an index or a dictionary key; any key that `path_str` writes so."""

    __slots__ = ()

    def matches(self, key: Any, length: int) -> bool:
        if str(key) == self.text:
            return True
        index = index_of(key)
        if index is not None:
            return type(self.value) is int and self.value in (index, index - length)
        if isinstance(key, jtu.DictKey) and self.value is not None:
            return type(key.key) is type(self.value) and bool(key.key == self.value)
        return False


class SliceStep(Step):
    """`[1:3]`: a range of indices."""

    __slots__ = ()

    def matches(self, key: Any, length: int) -> bool:
        return index_of(key) in range(*self.value.indices(length))


class AnyDepthStep(Step):
    """`**`: any number of keys, none included. At the end of a pattern: every leaf below."""

    __slots__ = ()


def name_of(key: Any) -> str:
    """A key as it is written in a dotted path, such as `layers.0.weight`."""
    if isinstance(key, jtu.GetAttrKey):
        return key.name
    if isinstance(key, jtu.DictKey):
        return str(key.key)
    index = index_of(key)
    return str(key).removeprefix(".") if index is None else str(index)


def index_of(key: Any) -> int | None:
    """The position that a key stands for. `None` if it stands for a name."""
    if isinstance(key, jtu.SequenceKey):
        return key.idx
    return key.key if isinstance(key, jtu.FlattenedIndexKey) else None


@ft.lru_cache(maxsize=1024)
def parse(pattern: str) -> tuple[Step, ...]:
    """The steps of a pattern.

    **Raises:** `WhereError` if the pattern does not follow the syntax.
    """
    steps: list[Step] = []
    text = "" if pattern == "<root>" else pattern
    start = 0
    while start < len(text):
        step = _STEP.match(text, start)
        if step is None or text.startswith(".."):
            raise WhereError(
                f"`{pattern}` cannot be read as a path from `{text[start:]}` on. A path is written "
                "as `layers[0].weight`, `layers.*.bias`, `**.weight`, `layers[1:3]` or "
                "`table['a b']`."
            )
        bracket, name = step.groups()
        steps.append(_name_step(name) if bracket is None else _bracket_step(bracket))
        start = step.end()
    return tuple(steps)


def is_exact(steps: tuple[Step, ...]) -> bool:
    """Whether the steps match one node at most, whatever the tree."""
    return all(step.exact for step in steps)


def text_of(steps: tuple[Step, ...]) -> str:
    """The pattern that parses to these steps."""
    return "".join(step.text for step in steps).removeprefix(".") or "<root>"


def _name_step(name: str) -> Step:
    if name == "*":
        return Step(".*")
    if name == "**":
        return AnyDepthStep(".**")
    return NameStep(f".{name}", name, exact=not re.search(r"[*?]", name))


def _bracket_step(text: str) -> Step:
    if text in ("*", "**"):
        return _name_step(text)
    written = f"[{text}]"
    bounds = _SLICE.fullmatch(text)
    if bounds is not None:
        if bounds[3] is not None and int(bounds[3]) == 0:
            raise WhereError(f"The range `{written}` has a step of 0. Give it another, or none.")
        return SliceStep(written, slice(*(int(x) if x else None for x in bounds.groups())))
    try:
        return ItemStep(written, ast.literal_eval(text.strip()), exact=True)
    except (ValueError, SyntaxError):
        return ItemStep(written, exact=True)
