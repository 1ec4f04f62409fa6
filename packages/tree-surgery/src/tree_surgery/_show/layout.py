"""Laying out documents of `wadler_lindig` as text, in linear time.

The text is the same, to the byte, as that of `wadler_lindig.pformat`, which measures each group
again at every level that it is nested in. Here each document is measured once. `Bracket` is one
object where `wadler_lindig` makes about ten documents for each element.

Sources: P. Wadler, *A prettier printer* (1998); C. Lindig, *Strictly pretty* (2000).
"""

from collections.abc import Callable
from typing import Any

import wadler_lindig as wl

_Doc = Any  # a wadler_lindig.AbstractDoc; these have no common attributes
_Flat = tuple[int, str | None]


class Bracket(wl.GroupDoc):
    """`begin`, elements separated by commas, `end`: as `wadler_lindig.bracketed` lays it out.

    - `items`: for each element, what is before it, such as `name=`, and its document.
    - `tail`: what is after the last element.
    - `indent`: by how much elements are indented that stand on lines of their own.
    """

    __slots__ = ("begin", "end", "indent", "items", "tail")

    begin: str
    items: list[tuple[str, _Doc]]
    tail: str
    end: str
    indent: int

    def __init__(self, begin: str, items: list[tuple[str, _Doc]], tail: str, end: str, indent: int):
        fix = object.__setattr__  # documents are frozen
        fix(self, "begin", begin)
        fix(self, "items", items)
        fix(self, "tail", tail)
        fix(self, "end", end)
        fix(self, "indent", indent)

    @property
    def child(self) -> _Doc:  # pyright: ignore[reportIncompatibleVariableOverride]  # computed
        """The same in documents of `wadler_lindig`, for whoever lays it out with that."""
        return _as_documents(self).child


def _as_documents(bracket: Bracket) -> _Doc:
    docs: list[_Doc] = [wl.TextDoc(prefix) + doc for prefix, doc in bracket.items]
    if bracket.tail:
        docs[-1] = docs[-1] + wl.TextDoc(bracket.tail)
    begin, end = wl.TextDoc(bracket.begin), wl.TextDoc(bracket.end)
    return wl.bracketed(begin, docs, wl.comma, end, bracket.indent)


def layout(doc: _Doc, width: int) -> str:
    """The text of a document, in lines of at most `width` characters where that is possible."""
    return _Layout(width).run(doc)


class _Layout:
    """The state of laying out one document: the text so far, and the documents that follow.

    A method for each class of documents writes it, or replaces it by its parts. `indent` is the
    indentation of new lines in the document, `vertical` whether its breaks are new lines.
    """

    __slots__ = ("column", "flat", "out", "todo", "width")

    def __init__(self, width: int):
        self.width = width
        self.flat = _Flattener()
        self.out: list[str] = []
        self.column = 0
        self.todo: list[tuple[_Doc, int, bool]] = []  # (document, indent, vertical), last first

    def run(self, doc: _Doc) -> str:
        todo = self.todo
        todo.append((wl.GroupDoc(doc), 0, True))
        while todo:
            doc, indent, vertical = todo.pop()
            write = _WRITERS.get(type(doc))
            if write is None:
                raise TypeError(f"Expected a document of wadler_lindig, got {doc!r}.")
            write(self, doc, indent, vertical)
        return "".join(self.out)

    def text(self, doc: _Doc, indent: int, vertical: bool) -> None:
        self.out.append(doc.text.replace("\n", "\n" + " " * self.column))
        if getattr(doc, "width", True):
            self.column += len(wl.ansi_strip(doc.text.rsplit("\n", 1)[-1]))

    def concat(self, doc: _Doc, indent: int, vertical: bool) -> None:
        self.todo.extend([(child, indent, vertical) for child in reversed(doc.children)])

    def line_break(self, doc: _Doc, indent: int, vertical: bool) -> None:
        if vertical:
            self.out.append("\n" + " " * indent)
            self.column = indent
        else:
            self.out.append(doc.text)
            self.column += len(wl.ansi_strip(doc.text))

    def nest(self, doc: _Doc, indent: int, vertical: bool) -> None:
        self.todo.append((doc.child, indent + doc.indent, vertical))

    def group(self, doc: _Doc, indent: int, vertical: bool) -> None:
        if getattr(doc, "force_vertical", False):
            self.todo.append((doc.child, indent, True))
            return
        length, text = self.flat(doc)
        vertical = vertical and length > self.width - self.column
        if vertical or text is None:
            self.todo.append((doc.child, indent, vertical))
        else:
            self.out.append(text)
            self.column += length

    def bracket(self, doc: Bracket, indent: int, vertical: bool) -> None:
        length, text = self.flat(doc)
        vertical = vertical and length > self.width - self.column
        if not vertical and text is not None:
            self.out.append(text)
            self.column += length
        elif vertical and doc.items:
            self.vertical_bracket(doc, indent)
        else:
            self.todo.append((_as_documents(doc).child, indent, vertical))

    def vertical_bracket(self, doc: Bracket, indent: int) -> None:
        """A bracket that does not fit on the line: all elements on a line of their own, if they fit
        there together, else each on its own."""
        todo, inner = self.todo, indent + doc.indent
        lengths = [len(prefix) + self.flat(x)[0] for prefix, x in doc.items]
        together = sum(lengths) + 2 * (len(lengths) - 1) + len(doc.tail) <= self.width - inner
        todo.append((wl.TextDoc(doc.end), indent, True))
        todo.append((_BREAK, indent, True))
        last = len(doc.items) - 1
        for position in range(last, -1, -1):
            prefix, x = doc.items[position]
            after = doc.tail if position == last else ", " if together else ","
            if position != last and not together:
                todo.append((_BREAK, inner, True))
            if after:
                todo.append((wl.TextDoc(after), inner, True))
            # Text, and a bracket, which is a group itself, read the same within a group.
            todo.append((x if type(x) in _NEED_NO_GROUP else wl.GroupDoc(x), inner, not together))
            if prefix:
                todo.append((wl.TextDoc(prefix), inner, True))
        todo.append((_BREAK, inner, True))
        todo.append((wl.TextDoc(doc.begin), indent, True))


_BREAK = wl.BreakDoc("")
_NEED_NO_GROUP = frozenset({Bracket, wl.TextDoc})
_WRITERS: dict[type, Callable[[_Layout, Any, int, bool], None]] = {
    Bracket: _Layout.bracket,
    wl.GroupDoc: _Layout.group,
    wl.TextDoc: _Layout.text,
    wl.ConcatDoc: _Layout.concat,
    wl.BreakDoc: _Layout.line_break,
    wl.NestDoc: _Layout.nest,
}


class _Flattener:
    """Lays documents out on one line, each once.

    Gives the width and the text. The text is `None` if it cannot be copied as it is, since it holds
    new lines, markup or forced breaks.
    """

    def __init__(self):
        # The documents are kept too: a new document must not get the `id` of one that was freed.
        self.known: dict[int, tuple[_Doc, _Flat]] = {}

    def __call__(self, doc: _Doc) -> _Flat:
        if type(doc) is wl.TextDoc:
            return _text(doc)
        known = self.known.get(id(doc))
        if known is None:
            measure = self.measure_bracket if type(doc) is Bracket else self.measure
            known = self.known[id(doc)] = (doc, measure(doc))
        return known[1]

    def measure(self, doc: _Doc) -> _Flat:
        kind = type(doc)
        if kind is wl.BreakDoc:
            return _text(doc)
        if kind is wl.ConcatDoc:
            flats = [self(child) for child in doc.children]
            width = sum([length for length, _ in flats])
            texts = [text for _, text in flats if text is not None]
            return width, "".join(texts) if len(texts) == len(flats) else None
        width, text = self(doc.child)
        return width, None if getattr(doc, "force_vertical", False) else text

    def measure_bracket(self, doc: Bracket) -> _Flat:
        pieces = [(prefix, *self(x)) for prefix, x in doc.items]
        width = sum([len(prefix) + length for prefix, length, _ in pieces])
        width += 2 * max(len(pieces) - 1, 0) + len(doc.begin) + len(doc.tail) + len(doc.end)
        if any(text is None for _, _, text in pieces):
            return width, None
        inside = ", ".join([f"{prefix}{text}" for prefix, _, text in pieces])
        return width, f"{doc.begin}{inside}{doc.tail}{doc.end}"


def _text(doc: _Doc) -> _Flat:
    text: str = doc.text
    counts = getattr(doc, "width", True)  # whether the text takes up room: markup does not
    if text.isprintable() and counts:
        return len(text), text
    lines = wl.ansi_strip(text).splitlines() if counts else []
    return max(map(len, lines), default=0), None
