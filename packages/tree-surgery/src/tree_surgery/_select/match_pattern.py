"""The nodes of a tree whose paths match a pattern, and what to say when there are none."""

import difflib
import itertools

from tree_surgery._errors import WhereError
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.located_node import Place, Spot

from .path_pattern import Deep, Name, Step, is_exact, parse, text_of

_MOST = 20_000  # nodes that are looked at for paths near to one that does not exist


def match(pattern: str, root: Spot) -> list[Spot]:
    """The nodes that a pattern selects, each once."""
    steps = parse(pattern)
    found = _match(steps, root)
    # `None` is a node to JAX, and it can be meant; but what has it in a place has nothing there.
    return found if is_exact(steps) else [spot for spot in found if spot.value is not None]


def _match(steps: tuple[Step, ...], root: Spot) -> list[Spot]:
    found: dict[Place, Spot] = {}
    seen: set[tuple[Place, int]] = set()

    def follow(spot: Spot, i: int) -> None:
        if i == len(steps):
            found[spot.place] = spot
            return
        step = steps[i]
        if isinstance(step, Deep):
            if (spot.place, i) not in seen:
                seen.add((spot.place, i))
                deep(spot, i)
            return
        children = spot.children
        hits = [child for child in children if step.matches(child.key, len(children))]
        if not hits and isinstance(step, Name) and step.exact:
            hits = [field for field in spot.static if step.matches(field.key, 0)]
        for child in hits:
            follow(child, i + 1)

    def deep(spot: Spot, i: int) -> None:
        if i + 1 < len(steps):
            follow(spot, i + 1)
        elif spot.is_leaf:
            found[spot.place] = spot
        for child in spot.children:
            follow(child, i)

    follow(root, 0)
    return list(found.values())


def no_match(pattern: str, root: Spot) -> WhereError:
    """Nothing matches: how far the pattern leads, what there is, and what is written alike."""
    steps = parse(pattern)
    message = f"The pattern `{pattern}` matches nothing in this tree."
    if any(spot.value is None for spot in _match(steps, root)):
        message += " Where it leads there is `None`, which patterns with wildcards pass over."
    else:
        message += _how_far(steps, root)
    near = _nearest(pattern, root)
    if near:
        message += f" The nearest paths are {_listed(near)}."
    return WhereError(message, pattern)


def _how_far(steps: tuple[Step, ...], root: Spot) -> str:
    """What is at the end of the longest part of the pattern that leads anywhere."""
    for known in reversed(range(len(steps))):
        there = _match(steps[:known], root)
        if known and isinstance(steps[known - 1], Deep):
            return ""
        if there:
            where = f"At `{text_of(steps[:known])}`" if known else "At the root"
            below = [s for spot in there for s in (*spot.children, *spot.static)]
            names = list(dict.fromkeys(path_str((spot.key,)) for spot in below))
            return f" {where} there is {_listed(names) if names else 'nothing below'}."
    return ""


def _nearest(pattern: str, root: Spot) -> list[str]:
    spots = itertools.islice(root.walk(), _MOST)
    paths = [s.path for spot in spots for s in (spot, *spot.static) if s.keys]
    return difflib.get_close_matches(pattern, dict.fromkeys(paths), n=3, cutoff=0.4)


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
