"""Documents of `wadler_lindig` as text, in linear time.

The same layout, to the byte, as `wadler_lindig.pformat` gives, which measures each group anew at
every level that it is nested in; here each document is measured once. `Bracket` holds in one object
what takes about ten documents for each element otherwise.

Sources: P. Wadler, *A prettier printer* (1998); C. Lindig, *Strictly pretty* (2000).
"""

from typing import Any

import wadler_lindig as wl

_Doc = Any  # a wadler_lindig.AbstractDoc; these have no common attributes
_Flat = tuple[int, str | None]


class Bracket(wl.GroupDoc):
    """`begin`, elements separated by commas, `end`: as `wadler_lindig.bracketed` lays it out."""

    __slots__ = ("begin", "end", "indent", "items", "tail")

    begin: str
    items: list[tuple[str, _Doc]]  # what is before the element, such as `name=`, and the element
    tail: str  # what is after the last element
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
    flat = _Flattener()
    out: list[str] = []
    column = 0
    # What is left to do, last first: a document, its indentation, and whether breaks break there.
    todo: list[tuple[Any, int, bool]] = [(wl.GroupDoc(doc), 0, True)]
    while todo:
        doc, indent, vertical = todo.pop()
        kind = type(doc)
        if kind is Bracket or kind is wl.GroupDoc:
            forced = kind is wl.GroupDoc and getattr(doc, "force_vertical", False)
            if not forced:
                length, text = flat(doc)
                vertical = vertical and length > width - column
                if not vertical and text is not None:
                    out.append(text)
                    column += length
                    continue
            if kind is wl.GroupDoc:
                todo.append((doc.child, indent, vertical or forced))
            elif vertical and doc.items:
                _break(doc, indent, width, flat, todo)
            else:
                todo.append((_as_documents(doc).child, indent, vertical))
        elif kind is wl.TextDoc:
            out.append(doc.text.replace("\n", "\n" + " " * column))
            if getattr(doc, "width", True):
                column += len(wl.ansi_strip(doc.text.rsplit("\n", 1)[-1]))
        elif kind is wl.ConcatDoc:
            todo.extend([(child, indent, vertical) for child in reversed(doc.children)])
        elif kind is wl.BreakDoc:
            out.append("\n" + " " * indent if vertical else doc.text)
            column = indent if vertical else column + len(wl.ansi_strip(doc.text))
        elif kind is wl.NestDoc:
            todo.append((doc.child, indent + doc.indent, vertical))
        else:
            raise TypeError(f"Expected a document of wadler_lindig, got {doc!r}.")
    return "".join(out)


def _break(
    doc: Bracket, indent: int, width: int, flat: "_Flattener", todo: list[tuple[Any, int, bool]]
) -> None:
    """A bracket that does not fit on the line: its elements on a line of their own, if they fit
    there together, or else each on its own."""
    inner = indent + doc.indent
    flats = [(len(prefix) + flat(x)[0]) for prefix, x in doc.items]
    together = sum(flats) + 2 * (len(flats) - 1) + len(doc.tail) <= width - inner
    todo.append((wl.TextDoc(doc.end), indent, True))
    todo.append((_BREAK, indent, True))
    last = len(doc.items) - 1
    for place in range(last, -1, -1):
        prefix, x = doc.items[place]
        after = doc.tail if place == last else ", " if together else ","
        if place != last and not together:
            todo.append((_BREAK, inner, True))
        if after:
            todo.append((wl.TextDoc(after), inner, True))
        todo.append((wl.GroupDoc(x), inner, not together))
        if prefix:
            todo.append((wl.TextDoc(prefix), inner, True))
    todo.append((_BREAK, inner, True))
    todo.append((wl.TextDoc(doc.begin), indent, True))


_BREAK = wl.BreakDoc("")


class _Flattener:
    """Lays documents out on one line, each once.

    Gives the width, and the text; that is `None` if it cannot simply be copied, since it has lines,
    markup or forced breaks in it.
    """

    def __init__(self):
        # The documents are kept too, so that no other gets the place in memory of one of them.
        self.known: dict[int, tuple[_Doc, _Flat]] = {}

    def __call__(self, doc: _Doc) -> _Flat:
        if type(doc) is wl.TextDoc:
            return _text(doc)
        known = self.known.get(id(doc))
        if known is None:
            known = self.known[id(doc)] = (doc, self.measure(doc))
        return known[1]

    def measure(self, doc: _Doc) -> _Flat:
        kind = type(doc)
        if kind is Bracket:
            pieces = [(prefix, *self(x)) for prefix, x in doc.items]
            width = sum([len(prefix) + length for prefix, length, _ in pieces])
            width += 2 * max(len(pieces) - 1, 0) + len(doc.begin) + len(doc.tail) + len(doc.end)
            if any(text is None for _, _, text in pieces):
                return width, None
            inside = ", ".join([f"{prefix}{text}" for prefix, _, text in pieces])
            return width, f"{doc.begin}{inside}{doc.tail}{doc.end}"
        if kind is wl.BreakDoc:
            return _text(doc)
        if kind is wl.ConcatDoc:
            flats = [self(child) for child in doc.children]
            width = sum([length for length, _ in flats])
            texts = [text for _, text in flats if text is not None]
            return width, "".join(texts) if len(texts) == len(flats) else None
        width, text = self(doc.child)
        return width, None if getattr(doc, "force_vertical", False) else text


def _text(doc: _Doc) -> _Flat:
    text: str = doc.text
    counts = getattr(doc, "width", True)
    if text.isprintable() and counts:
        return len(text), text
    lines = wl.ansi_strip(text).splitlines() if counts else []
    return max(map(len, lines), default=0), None
