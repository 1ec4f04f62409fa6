"""Patterns of paths: a dotted path with `*`, `**`, indices, slices and keys, as steps to match."""

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
    """One step of a pattern."""

    __slots__ = ("exact", "text", "value")

    def __init__(self, text: str, value: Any = None, exact: bool = False):
        self.text = text  # as it is written
        self.value = value
        self.exact = exact  # whether one child at most matches

    def matches(self, key: Any, length: int) -> bool:
        """Whether it may lead to the child of that key, of `length` children."""
        return True


class Name(Step):
    """`.name`: an attribute or a key of a dictionary; `*` and `?` in it stand for any letters."""

    __slots__ = ()

    def matches(self, key: Any, length: int) -> bool:
        name = name_of(key)
        return name == self.value if self.exact else fnmatch.fnmatchcase(name, self.value)


class Item(Step):
    """`[0]`, `[-1]`, `['a b']`: an index or a key; or whatever is written so by `path_str`."""

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


class Slice(Step):
    """`[1:3]`: a range of indices."""

    __slots__ = ()

    def matches(self, key: Any, length: int) -> bool:
        return index_of(key) in range(*self.value.indices(length))


class Deep(Step):
    """`**`: any number of steps."""

    __slots__ = ()


def name_of(key: Any) -> str:
    """What a step is called where paths are dotted: `layers.0.weight`."""
    if isinstance(key, jtu.GetAttrKey):
        return key.name
    if isinstance(key, jtu.DictKey):
        return str(key.key)
    index = index_of(key)
    return str(key).removeprefix(".") if index is None else str(index)


def index_of(key: Any) -> int | None:
    """The position that a key stands for, if it stands for one."""
    if isinstance(key, jtu.SequenceKey):
        return key.idx
    return key.key if isinstance(key, jtu.FlattenedIndexKey) else None


@ft.lru_cache(maxsize=1024)
def parse(pattern: str) -> tuple[Step, ...]:
    """The steps that a pattern consists of."""
    steps: list[Step] = []
    text = "" if pattern == "<root>" else pattern
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or (at == 0 and text[0] == "." and len(text) > 1 and text[1] == "."):
            raise WhereError(
                f"`{pattern}` cannot be read as a path from `{text[at:]}` on. A path is written as "
                "`layers[0].weight`, `layers.*.bias`, `**.weight`, `layers[1:3]` or `table['a b']`."
            )
        bracket, name = step.groups()
        steps.append(_named(name) if bracket is None else _bracketed(bracket))
        at = step.end()
    return tuple(steps)


def is_exact(steps: tuple[Step, ...]) -> bool:
    """Whether there is one node at most that matches, whatever the tree."""
    return all(step.exact for step in steps)


def text_of(steps: tuple[Step, ...]) -> str:
    """The steps as a pattern again."""
    return "".join(step.text for step in steps).removeprefix(".") or "<root>"


def _named(name: str) -> Step:
    if name == "*":
        return Step(".*")
    if name == "**":
        return Deep(".**")
    return Name(f".{name}", name, exact=not re.search(r"[*?]", name))


def _bracketed(text: str) -> Step:
    if text in ("*", "**"):
        return _named(text)
    written = f"[{text}]"
    bounds = _SLICE.fullmatch(text)
    if bounds is not None:
        if bounds[3] is not None and int(bounds[3]) == 0:
            raise WhereError(f"The range `{written}` has a step of 0. Give it another, or none.")
        return Slice(written, slice(*(int(x) if x else None for x in bounds.groups())))
    try:
        return Item(written, ast.literal_eval(text.strip()), exact=True)
    except (ValueError, SyntaxError):
        return Item(written, exact=True)
