"""Matching a path pattern against a tree, and the error if no node matches.

Nodes are opened along the pattern only: an exact path costs the nodes on its way, not the tree.
"""

import difflib
import itertools

from tree_surgery._errors import WhereError
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.located_node import LocatedNode, NodeIndex

from .path_pattern import AnyDepthStep, NameStep, Step, is_exact, parse, text_of

_MOST_SEARCHED = 20_000  # nodes whose paths are compared with a pattern that matches nothing
_MOST_LISTED = 8  # names that an error lists


def match_pattern(pattern: str, root: LocatedNode) -> list[LocatedNode]:
    """The nodes below `root` that a pattern matches, each once."""
    steps = parse(pattern)
    matched = _match_steps(steps, root)
    # JAX treats `None` as a node without leaves. An exact path may mean it, to set something there;
    # a wildcard passes over it, since there is nothing to select.
    return matched if is_exact(steps) else [node for node in matched if node.value is not None]


def no_match_error(pattern: str, root: LocatedNode) -> WhereError:
    """The error for a pattern that matches nothing: how far it leads, and the nearest paths."""
    steps = parse(pattern)
    message = f"The pattern `{pattern}` matches nothing in this tree."
    if any(node.value is None for node in _match_steps(steps, root)):
        message += " Where it leads there is `None`, which patterns with wildcards pass over."
    else:
        message += _longest_matching_part(steps, root)
    nearest = _nearest_paths(pattern, root)
    if nearest:
        message += f" The nearest paths are {_quoted(nearest)}."
    return WhereError(message, pattern)


def _match_steps(steps: tuple[Step, ...], root: LocatedNode) -> list[LocatedNode]:
    """The nodes that the steps lead to, `None` included.

    `**` may reach a node in several ways (`**.**`). `expanded` makes sure that each pair of a node
    and a position in the steps is expanded once; without it the time is exponential in the number
    of `**`.
    """
    matched: dict[NodeIndex, LocatedNode] = {}
    expanded: set[tuple[NodeIndex, int]] = set()

    def follow(node: LocatedNode, i: int) -> None:
        if i == len(steps):
            matched[node.index] = node
            return
        step = steps[i]
        if isinstance(step, AnyDepthStep):
            if (node.index, i) not in expanded:
                expanded.add((node.index, i))
                follow_any_depth(node, i)
            return
        children = node.children
        hits = [child for child in children if step.matches(child.key, len(children))]
        if not hits and isinstance(step, NameStep) and step.exact:
            hits = [field for field in node.static if step.matches(field.key, 0)]
        for child in hits:
            follow(child, i + 1)

    def follow_any_depth(node: LocatedNode, i: int) -> None:
        if i + 1 < len(steps):
            follow(node, i + 1)
        elif node.is_leaf:
            matched[node.index] = node
        for child in node.children:
            follow(child, i)

    follow(root, 0)
    return list(matched.values())


def _longest_matching_part(steps: tuple[Step, ...], root: LocatedNode) -> str:
    """A sentence on what is below the longest beginning of the pattern that matches something."""
    for length in reversed(range(len(steps))):
        matched = _match_steps(steps[:length], root)
        if length and isinstance(steps[length - 1], AnyDepthStep):
            return ""  # it matches everywhere, so what is below it says nothing
        if matched:
            place = f"At `{text_of(steps[:length])}`" if length else "At the root"
            below = [child for node in matched for child in (*node.children, *node.static)]
            names = list(dict.fromkeys(path_str((child.key,)) for child in below))
            return f" {place} there is {_quoted(names) if names else 'nothing below'}."
    return ""


def _nearest_paths(pattern: str, root: LocatedNode) -> list[str]:
    """Up to three paths in the tree whose spelling is close to the pattern."""
    searched = itertools.islice(root.walk(), _MOST_SEARCHED)
    paths = [x.path for node in searched for x in (node, *node.static) if x.keys]
    return difflib.get_close_matches(pattern, dict.fromkeys(paths), n=3, cutoff=0.4)


def _quoted(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_MOST_LISTED])
    more = len(names) - _MOST_LISTED
    return shown + (f" and {more} more" if more > 0 else "")
