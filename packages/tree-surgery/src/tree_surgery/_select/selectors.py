"""Selectors: which nodes of a tree are meant, by path, type, predicate, or a combination."""

import inspect
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeAlias, cast

from tree_surgery._errors import WhereError
from tree_surgery._nodes.located_node import Place, Spot
from tree_surgery._public import public
from tree_surgery._types import Kind, Predicate

from .match_pattern import match, no_match
from .path_pattern import is_exact, parse


class Found:
    """What a selector picks of a tree, and which nodes it covers: these, and all within them."""

    __slots__ = ("covers", "picks")

    picks: dict[Place, Spot]
    covers: Callable[[Place], bool]

    def __init__(self, picks: dict[Place, Spot], covers: Callable[[Place], bool]):
        self.picks = picks
        self.covers = covers


@public
class Selector:
    """A selector says which nodes of a tree are meant; it can be used on any tree.

    Selectors are made by [`tree_surgery.where`][] and combined: `a | b` selects what either of
    them does; `a & b` what both do; `~a` the leaves that `a` leaves out. A node stands for all that
    is within it, so that `where.path("encoder") & where.type(jax.Array)` are the arrays in the
    encoder. Of selected nodes within each other the outermost counts. Seen as sets of leaves,
    selectors are a Boolean algebra.

    Wherever a function takes a selector, it takes a string, a type or a function as well, and a
    list or tuple of these for a union.

    ```python
    from tree_surgery import tree_select, where

    tree = {"encoder": [1, 2.0], "decoder": [3, 4.0]}
    ints = where.path("encoder") & where.type(int)
    assert tree_select(tree, ints) == {"['encoder'][0]": 1}
    assert list(tree_select(tree, ~ints)) == ["['decoder'][0]", "['decoder'][1]", "['encoder'][1]"]
    ```
    """

    __slots__ = ()

    def __or__(self, other: "Selects") -> "Selector":
        return Either(self, as_selector(other))

    def __ror__(self, other: "Selects") -> "Selector":
        return Either(as_selector(other), self)

    def __and__(self, other: "Selects") -> "Selector":
        return Both(self, as_selector(other))

    def __rand__(self, other: "Selects") -> "Selector":
        return Both(as_selector(other), self)

    def __invert__(self) -> "Selector":
        return Not(self)

    def find(self, root: Spot) -> Found:
        """What is selected of a tree. For the functions of this library."""
        raise NotImplementedError


# What stands for a selector; the types, which say what the nodes are, apart, since some functions
# have an overload for them.
SelectsOther: TypeAlias = str | UnionType | Selector | Predicate | Sequence["Selects"]
Selects: TypeAlias = Kind | SelectsOther


class Path(Selector):
    """The nodes whose path matches."""

    __slots__ = ("optional", "pattern")

    def __init__(self, pattern: str, optional: bool = False):
        self.pattern = pattern
        self.optional = optional

    def __repr__(self) -> str:
        return f"where.path({self.pattern!r}{', optional=True' if self.optional else ''})"

    def find(self, root: Spot) -> Found:
        spots = match(self.pattern, root)
        if not spots and not self.optional:
            raise no_match(self.pattern, root)
        return _found(spots)


class Type(Selector):
    """The nodes of a type."""

    __slots__ = ("kinds",)

    def __init__(self, kinds: tuple[Kind, ...]):
        self.kinds = kinds

    def __repr__(self) -> str:
        names = (getattr(kind, "__qualname__", str(kind)) for kind in self.kinds)
        return f"where.type({', '.join(names)})"

    def find(self, root: Spot) -> Found:
        return _found([spot for spot in root.walk() if isinstance(spot.value, self.kinds)])


class Leaf(Selector):
    """The leaves that a predicate is true of."""

    __slots__ = ("predicate",)

    def __init__(self, predicate: Predicate):
        self.predicate = predicate

    def __repr__(self) -> str:
        return f"where.leaf({getattr(self.predicate, '__qualname__', self.predicate)})"

    def find(self, root: Spot) -> Found:
        _check_takes_two(self.predicate)
        leaves = (spot for spot in root.walk() if spot.is_leaf)
        return _found([spot for spot in leaves if self.predicate(spot.path, spot.value)])


class Either(Selector):
    """What one selector means or the other."""

    __slots__ = ("one", "other")

    def __init__(self, one: Selector, other: Selector):
        self.one = one
        self.other = other

    def __repr__(self) -> str:
        return f"({self.one!r} | {self.other!r})"

    def find(self, root: Spot) -> Found:
        a, b = self.one.find(root), self.other.find(root)
        return Found(a.picks | b.picks, lambda place: a.covers(place) or b.covers(place))


class Both(Selector):
    """What both selectors mean."""

    __slots__ = ("one", "other")

    def __init__(self, one: Selector, other: Selector):
        self.one = one
        self.other = other

    def __repr__(self) -> str:
        return f"({self.one!r} & {self.other!r})"

    def find(self, root: Spot) -> Found:
        a, b = self.one.find(root), self.other.find(root)
        picks = {place: spot for place, spot in a.picks.items() if b.covers(place)}
        picks |= {place: spot for place, spot in b.picks.items() if a.covers(place)}
        return Found(picks, lambda place: a.covers(place) and b.covers(place))


class Not(Selector):
    """The leaves that a selector leaves out."""

    __slots__ = ("one",)

    def __init__(self, one: Selector):
        self.one = one

    def __repr__(self) -> str:
        return f"~{self.one!r}"

    def find(self, root: Spot) -> Found:
        one = self.one.find(root)
        above = {place[:i] for place in one.picks for i in range(len(place))}
        leaves = [s for s in root.walk() if s.is_leaf and not one.covers(s.place)]
        return Found(
            {spot.place: spot for spot in leaves},
            lambda place: place not in above and not one.covers(place),
        )


def as_selector(where: Any) -> Selector:
    """The selector that a string, a type or a function stands for."""
    if isinstance(where, Selector):
        return where
    if isinstance(where, str):
        return Path(where)
    if isinstance(where, type | UnionType):
        return Type((where,))
    if isinstance(where, list | tuple) and where:
        first, *rest = map(as_selector, cast(Sequence[Any], where))
        for other in rest:
            first = Either(first, other)
        return first
    if callable(where):
        return Leaf(cast(Any, where))
    raise WhereError(
        "What to select must be a pattern such as `'layers.*.weight'`, a type, a function of "
        f"`(path, leaf)`, or a combination of these by `where`, but it is `{where!r}` of type "
        f"`{type(where).__name__}`.",
        where,
    )


def find(where: Any, tree: Any) -> list[Spot]:
    """The nodes that are selected, in order, none within another."""
    root = Spot(tree)
    picks = as_selector(where).find(root).picks
    if len(picks) == 1:
        return list(picks.values())
    spots: list[Spot] = []
    for place, spot in sorted(picks.items()):  # what is within a node comes right after it
        if not (spots and place[: len(spots[-1].place)] == spots[-1].place):
            spots.append(spot)
    return spots


def is_exact_path(where: Any) -> bool:
    """Whether a selector is a pattern that stands for one node, whatever the tree."""
    return isinstance(where, str) and is_exact(parse(where))


def mask(where: Any, tree: Any) -> list[bool]:
    """For each leaf, in order, whether it is selected, or within a node that is."""
    root = Spot(tree)
    covers = _found(list(as_selector(where).find(root).picks.values())).covers
    return [covers(spot.place) for spot in root.walk() if spot.is_leaf]


def _check_takes_two(predicate: Predicate) -> None:
    try:
        signature = inspect.signature(predicate)
    except (TypeError, ValueError):  # as of some functions that are not written in Python
        return
    try:
        signature.bind("", None)
    except TypeError as error:
        raise WhereError(
            "A function that selects is called on the path and the value of each leaf, as in "
            f"`lambda path, leaf: ...`, but got one of the signature `{signature}`. (A function of "
            "the whole tree is for `tree_at`: here, write the path that it goes as a pattern.)",
            predicate,
        ) from error


def _found(spots: list[Spot]) -> Found:
    picks = {spot.place: spot for spot in spots}
    lengths = sorted({len(place) for place in picks})

    def covers(place: Place) -> bool:
        return any(place[:n] in picks for n in lengths if n <= len(place))

    return Found(picks, covers)
