"""Where two trees begin to differ."""

from collections.abc import Callable
from typing import Any

import jax.tree_util as jtu

from tree_surgery._jax import Tracer
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._nodes.located_node import static_names
from tree_surgery._nodes.one_level import open_node
from tree_surgery._public import public

from .diff import describe

_MANY = 8  # children that are all named


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


def first_difference(a: Any, b: Any, are_equal: Callable[[Any, Any], Any]) -> Equality:
    """Go through both trees at once, up to the first leaves that are not equal."""
    found = _compare(a, b, (), are_equal)
    return Equality() if found is None else found


def _has(keys: list[Any], others: list[Any]) -> str:
    """The children of a node, or, of many, those that the other node lacks."""
    if len(keys) <= _MANY:
        return "has " + ", ".join(path_str((key,)) for key in keys) if keys else "is empty"
    there = set(map(str, others))
    only = [path_str((key,)) for key in keys if str(key) not in there]
    more = f" and {len(only) - _MANY} more" if len(only) > _MANY else ""
    alone = f", of them alone {', '.join(only[:_MANY])}{more}" if only else ""
    return f"has {len(keys)} children{alone}"


def _compare(a: Any, b: Any, path: tuple[Any, ...], are_equal: Any) -> Equality | None:
    """The difference, if there is one."""
    one, other = open_node(a), open_node(b)
    if one is None or other is None:
        if one is not None or other is not None:
            return _told(path, a, b)
        return _compare_leaves(a, b, path, are_equal)
    if type(a) is not type(b):
        return _told(path, a, b)
    (keys, children, treedef), (other_keys, other_children, other_treedef) = one, other
    if list(map(str, keys)) != list(map(str, other_keys)):
        there = _has(keys, other_keys), _has(other_keys, keys)
        return Equality(path_str(path), f"one {there[0]}, and the other {there[1]}")
    if treedef != other_treedef:
        return _static(a, b, keys, path)
    for key, x, y in zip(keys, children, other_children, strict=True):
        found = _compare(x, y, (*path, key), are_equal)
        if found is not None:
            return found
    return None


def _compare_leaves(a: Any, b: Any, path: tuple[Any, ...], are_equal: Any) -> Equality | None:
    equal = are_equal(a, b)
    if isinstance(equal, Tracer):
        raise ValueError(
            f"`tree_equal` cannot explain: whether `{path_str(path)}` is equal depends on values "
            "that are being traced. Call it outside of `jax.jit`, or without `explain`."
        )
    return None if equal else _told(path, a, b)


def _static(a: Any, b: Any, keys: list[Any], path: tuple[Any, ...]) -> Equality:
    """Nodes with the same children that JAX still takes for different."""
    for name in static_names(a, keys):
        x, y = getattr(a, name, None), getattr(b, name, None)
        if x is not y and not (type(x) is type(y) and bool(x == y)):
            return _told((*path, jtu.GetAttrKey(name)), x, y)
    return Equality(path_str(path), f"the `{type(a).__name__}`s have other static parts")


def _told(path: tuple[Any, ...], a: Any, b: Any) -> Equality:
    texts = [describe(x) or "None" for x in (a, b)]
    if texts[0] == texts[1]:
        kinds = [type(x).__qualname__ for x in (a, b)]
        what = "with other values" if kinds[0] == kinds[1] else f"a `{kinds[0]}` and a `{kinds[1]}`"
        return Equality(path_str(path), f"both {texts[0]}, {what}")
    return Equality(path_str(path), f"{texts[0]}, and {texts[1]}")
