"""Where two trees begin to differ: one walk through both, and what it found in words.

`first_difference` is the walk, for this distribution and for libraries. `Equality` is the answer of
`tree_equal(..., explain=True)`, which says the difference in words.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jax.tree_util as jtu

from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.located_node import static_names
from tree_surgery._nodes.one_level import children_with_keys, open_node
from tree_surgery._public import public
from tree_surgery._show.one_line import one_line

_MOST_LISTED = 8  # children that are listed


@public
class Equality:
    """Whether trees are equal, and if not, where they begin to differ. True if they are equal.

    - `path`: the path of the first difference; `None` if there is none.
    - `reason`: what is different there, in words.

    ```python
    from tree_surgery import Equality, tree_equal

    result = tree_equal({"a": [1, 2]}, {"a": [1, 3]}, explain=True)
    assert isinstance(result, Equality) and not result
    assert str(result) == "First difference at `['a'][1]`: 2, and 3."
    ```
    """

    __slots__ = ("path", "reason")

    path: str | None
    reason: str

    def __init__(self, path: str | None = None, reason: str = ""):
        self.path = path
        self.reason = reason

    def __bool__(self) -> bool:
        return self.path is None

    def __repr__(self) -> str:
        if self.path is None:
            return "Equal."
        return f"First difference at `{self.path}`: {self.reason}."


@public("tree_surgery.extend")
class Difference(NamedTuple):
    """The first place at which two trees differ. See [`tree_surgery.extend.first_difference`][].

    - `path`: its key path, as in `jax.tree_util`.
    - `one`, `other`: what each of the trees has there.
    - `kind`: what differs. `"leaf"`: two leaves. `"type"`: the types of two nodes, or one of them
        is a leaf. `"keys"`: the children that two nodes of one type have. `"field"`: a static field
        of a dataclass, at which `path` ends. `"static"`: the static parts of two nodes, otherwise.

    ```python
    from tree_surgery.extend import Difference, first_difference

    difference = first_difference({"a": [1]}, {"a": (1,)})
    assert isinstance(difference, Difference) and difference.kind == "type"
    assert (difference.one, difference.other) == ([1], (1,))
    ```
    """

    path: tuple[object, ...]
    one: Any
    other: Any
    kind: Literal["leaf", "type", "keys", "field", "static"]


def _equal(x: object, y: object) -> bool:
    """Whether two static values are of one type and equal. If they cannot be compared: no."""
    try:
        return x is y or (type(x) is type(y) and bool(x == y))
    except Exception:
        return False


def _never(_one: object, _other: object) -> bool:
    return False


@public("tree_surgery.extend")
def first_difference(
    one: object,
    other: object,
    leaves_equal: Callable[[Any, Any], object] | None = None,
    *,
    static_equal: Callable[[Any, Any], bool] = _equal,
    skip: Callable[[Any, Any], bool] = _never,
) -> Difference | None:
    """Two trees are walked through at once, up to the first place at which they differ.

    **Arguments:**

    - `one`, `other`: PyTrees.
    - `leaves_equal`: called with two leaves in the same place, it says whether they are equal.
        Without it leaves are not compared, only structures.
    - `static_equal`: whether two values of a static field are equal. Only the treedefs say whether
        two nodes differ; this finds the field in which they do.
    - `skip`: called with what the trees have in the same place; if true, that is not compared.

    **Returns:**

    A [`tree_surgery.extend.Difference`][], or `None` if there is none.

    ```python
    import operator
    from tree_surgery.extend import first_difference

    assert first_difference([1, {"a": 2}], [1, {"a": 3}]) is None
    difference = first_difference([1, {"a": 2}], [1, {"a": 3}], operator.eq)
    assert (difference.one, difference.other, difference.kind) == (2, 3, "leaf")
    ```
    """
    return _Walk(leaves_equal, static_equal, skip).compare(one, other, ())


class _Walk(NamedTuple):
    """The options of `first_difference`, and its walk."""

    leaves_equal: Callable[[Any, Any], object] | None
    static_equal: Callable[[Any, Any], bool]
    skip: Callable[[Any, Any], bool]

    def compare(self, one: Any, other: Any, path: tuple[Any, ...]) -> Difference | None:
        if self.skip(one, other):
            return None
        opened, other_opened = open_node(one), open_node(other)
        if opened is None and other_opened is None:
            equal = self.leaves_equal is None or self.leaves_equal(one, other)
            return None if equal else Difference(path, one, other, "leaf")
        if opened is None or other_opened is None or type(one) is not type(other):
            return Difference(path, one, other, "type")
        (keys, children, treedef), (other_keys, other_children, other_treedef) = (
            opened,
            other_opened,
        )
        if list(map(str, keys)) != list(map(str, other_keys)):
            return Difference(path, one, other, "keys")
        if treedef != other_treedef:
            return self.static_difference(one, other, keys, path)
        return self.compare_children(zip(keys, children, other_children, strict=True), path)

    def compare_children(
        self, children: Iterable[tuple[Any, Any, Any]], path: tuple[Any, ...]
    ) -> Difference | None:
        for key, one, other in children:
            found = self.compare(one, other, (*path, key))
            if found is not None:
                return found
        return None

    def static_difference(
        self, one: Any, other: Any, keys: list[Any], path: tuple[Any, ...]
    ) -> Difference:
        """How two nodes of the same type and keys differ, whose treedefs are not equal."""
        for name in static_names(one, keys):
            x, y = getattr(one, name, None), getattr(other, name, None)
            if not self.static_equal(x, y):
                return Difference((*path, jtu.GetAttrKey(name)), x, y, "field")
        return Difference(path, one, other, "static")


def explain_difference(difference: Difference | None) -> Equality:
    """What `tree_equal(..., explain=True)` says of a difference."""
    if difference is None:
        return Equality()
    path, one, other, kind = difference
    if kind == "keys":
        reason = f"one {_children(one, other)}, and the other {_children(other, one)}"
    elif kind == "static":
        reason = f"the `{type(one).__name__}`s have other static parts"
    else:
        reason = _both_values(one, other)
    return Equality(path_str(path), reason)


def _children(node: Any, other: Any) -> str:
    """The children of a node. If there are many, those that the other node lacks."""
    paths, others = ([path_str(key) for key, _ in children_with_keys(x)] for x in (node, other))
    if not paths:
        return "is empty"
    if len(paths) <= _MOST_LISTED:
        return "has " + ", ".join(paths)
    there = set(others)
    only = [path for path in paths if path not in there]
    more = f" and {len(only) - _MOST_LISTED} more" if len(only) > _MOST_LISTED else ""
    alone = f", of them alone {', '.join(only[:_MOST_LISTED])}{more}" if only else ""
    return f"has {len(paths)} children{alone}"


def _both_values(x: Any, y: Any) -> str:
    texts = [one_line(x), one_line(y)]
    if texts[0] != texts[1]:
        return f"{texts[0]}, and {texts[1]}"
    kinds = [type(x).__qualname__, type(y).__qualname__]
    if kinds[0] == kinds[1]:
        return f"both {texts[0]}, with other values"
    return f"both {texts[0]}, a `{kinds[0]}` and a `{kinds[1]}`"
