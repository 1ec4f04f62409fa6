"""`tree_diff`: all differences between two trees, path by path.

Trees are compared by key, not by position, so that one added layer is one difference.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from tree_surgery._jax import Tracer
from tree_surgery._nodes.arrays import is_array_or_struct, is_key
from tree_surgery._nodes.leaf_info import NUMBERS
from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._nodes.one_level import open_node
from tree_surgery._public import public
from tree_surgery._show.one_line import one_line


@public
class TreeChange(NamedTuple):
    """One difference between two trees.

    - `path`: where it is, as `tree_surgery.path_str` writes it.
    - `before`, `after`: what is there in either tree, in words; `None` if there is nothing.
    - `difference`: for numbers of the same shape, the largest absolute difference; NaN if some are
        NaN in one of the trees only.
    - `elements`, `size`: for arrays of the same shape, how many elements differ, and of how many.

    ```python
    from tree_surgery import TreeChange, tree_diff

    (change,) = tree_diff([1, 2.0], [1, 2.5]).changed
    assert change == TreeChange("[1]", "2.0", "2.5", difference=0.5)
    ```
    """

    path: str
    before: str | None
    after: str | None
    difference: float | None = None
    elements: int | None = None
    size: int | None = None


@public
class TreeDiff:
    """What is different between two trees: true if anything is, and readable when printed.

    - `added`, `removed`, `changed`: lists of [`tree_surgery.TreeChange`][].

    ```python
    from tree_surgery import TreeDiff, tree_diff

    diff = tree_diff({"a": 1}, {"b": 1})
    assert isinstance(diff, TreeDiff) and diff and len(diff) == 2
    assert diff.removed[0].path == "['a']" and diff.added[0].path == "['b']"
    ```
    """

    __slots__ = ("added", "changed", "removed")

    added: list[TreeChange]
    removed: list[TreeChange]
    changed: list[TreeChange]

    def __init__(self, changes: list[TreeChange]):
        self.added = [c for c in changes if c.before is None]
        self.removed = [c for c in changes if c.after is None]
        self.changed = [c for c in changes if c.before is not None and c.after is not None]

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)

    def __repr__(self) -> str:
        if not self:
            return "No difference."
        kinds = [("-", self.removed), ("+", self.added), ("~", self.changed)]
        counts = (
            f"{len(self.removed)} removed, {len(self.added)} added, {len(self.changed)} changed"
        )
        changes = [(sign, change) for sign, changes in kinds for change in changes]
        width = max(len(change.path) for _, change in changes)
        lines = [f"{sign} {change.path:{width}}  {_in_words(change)}" for sign, change in changes]
        return "\n".join([f"{counts}:", *lines])


@public
def tree_diff(a: object, b: object) -> TreeDiff:
    """What is added, removed and changed from the first tree to the second, path by path.

    There is no difference where arrays agree in shape, dtype and all values, NaN in the same places
    included, whether they are of JAX or NumPy. Static fields of dataclasses are compared too.
    `None` is nothing: what is there instead in the other tree was added, or removed.

    **Arguments:**

    - `a`, `b`: PyTrees, of any structure. `jax.ShapeDtypeStruct`s are compared by shape and dtype.

    **Returns:**

    A [`tree_surgery.TreeDiff`][], which is false if there is no difference, prints as a table, and
    has the lists `added`, `removed` and `changed` of [`tree_surgery.TreeChange`][].

    **Raises:**

    `ValueError` under a transformation such as `jax.jit`, where arrays have no values yet.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_diff

    old = {"w": jnp.ones((2, 3)), "b": jnp.ones(2), "act": "relu"}
    new = {"w": jnp.ones((2, 3)).at[0, 0].set(1.5), "b": None, "act": "gelu", "n": jnp.ones(3)}
    diff = tree_diff(old, new)
    assert str(diff) == \"\"\"\\
    1 removed, 1 added, 2 changed:
    - ['b']    f32[2]
    + ['n']    f32[3]
    ~ ['act']  'relu' -> 'gelu'
    ~ ['w']    f32[2,3], by at most 0.5 in 1 of 6 elements\"\"\"
    ```
    """
    changes: list[TreeChange] = []
    _compare(LocatedNode(a), LocatedNode(b), changes)
    return TreeDiff(changes)


def _compare(a: LocatedNode, b: LocatedNode, changes: list[TreeChange]) -> None:
    """Append the differences between two nodes in the same place."""
    x, y = a.value, b.value
    if x is y:
        return
    if x is None:
        changes.append(TreeChange(a.path, None, one_line(y)))
    elif y is None:
        changes.append(TreeChange(a.path, one_line(x), None))
    elif a.is_leaf and b.is_leaf:
        change = _leaf_change(a.path, x, y)
        if change is not None:
            changes.append(change)
    elif type(x) is not type(y):
        changes.append(_change(a.path, x, y))
    else:
        _compare_nodes(a, b, changes)


def _compare_nodes(a: LocatedNode, b: LocatedNode, changes: list[TreeChange]) -> None:
    """Append the differences between two nodes of one type: of children, and of static fields."""
    before = len(changes)
    olds, news = _by_key(a), _by_key(b)
    for key, old in olds.items():
        if key in news:
            _compare(old, news[key], changes)
        else:
            changes.append(TreeChange(old.path, one_line(old.value), None))
    for key, new in news.items():
        if key not in olds:
            changes.append(TreeChange(new.path, None, one_line(new.value)))
    if len(changes) == before and _differ_in_static_parts(a.value, b.value):
        kind = f"`{type(a.value).__name__}`"
        changes.append(TreeChange(a.path, kind, f"{kind} with other static parts"))


def _by_key(node: LocatedNode) -> dict[str, LocatedNode]:
    return {str(child.key): child for child in (*node.children, *node.static)}


def _differ_in_static_parts(x: Any, y: Any) -> bool:
    """Whether JAX tells apart two nodes of which all children and fields are equal."""
    opened, other = open_node(x), open_node(y)
    return bool(opened and other and opened[2] != other[2])


def _leaf_change(path: str, x: Any, y: Any) -> TreeChange | None:
    """The difference between two leaves. `None` if there is none."""
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        raise ValueError(
            f"`tree_diff` compares values, but `{path}` is being traced and has none yet. Call it "
            "outside of `jax.jit`; `tree_equal` works within."
        )
    if is_array_or_struct(x) and is_array_or_struct(y):
        return _array_change(path, x, y)
    if isinstance(x, NUMBERS) and isinstance(y, NUMBERS):
        return _value_change(path, x, y, type(x) is type(y))
    return None if _is_equal(x, y) else _change(path, x, y)


def _array_change(path: str, x: Any, y: Any) -> TreeChange | None:
    same = x.shape == y.shape and x.dtype == y.dtype
    if isinstance(x, jax.ShapeDtypeStruct) or isinstance(y, jax.ShapeDtypeStruct):
        return None if same else _change(path, x, y)
    if x.shape != y.shape or is_key(x) != is_key(y):
        return _change(path, x, y)
    return _value_change(path, x, y, same)


def _value_change(path: str, x: Any, y: Any, same_type: bool) -> TreeChange | None:
    """The difference between two arrays of one shape, or two Python numbers."""
    difference, elements = _difference_of_values(x, y)
    if same_type and not elements:
        return None
    if not is_array_or_struct(x):
        return _change(path, x, y, difference)
    return _change(path, x, y, difference, elements, int(np.prod(np.shape(x), dtype=int)))


def _difference_of_values(x: Any, y: Any) -> tuple[float | None, int]:
    """The largest absolute difference of two arrays of one shape, and how many elements differ.

    NaN equals NaN here. Keys have no difference, only a number of elements.
    """
    if is_key(x):
        data = [np.asarray(jax.random.key_data(k)) for k in (x, y)]
        if data[0].shape != data[1].shape:
            return None, x.size
        return None, int((data[0] != data[1]).any(-1).sum())
    x, y = np.asarray(x), np.asarray(y)
    wide = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
    if {x.dtype.kind, y.dtype.kind} <= set("iu"):
        differs = x != y  # exact: large integers may be equal as doubles
        x, y = x.astype(wide), y.astype(wide)
    else:
        x, y = x.astype(wide), y.astype(wide)
        differs = (x != y) & ~(np.isnan(x) & np.isnan(y))
    if not differs.any():
        return 0.0, 0
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.abs(x - y)[differs].max()), int(differs.sum())


def _is_equal(x: Any, y: Any) -> bool:
    try:
        return bool(x == y)
    except Exception:  # objects that cannot be compared are not equal
        return False


def _change(path: str, x: Any, y: Any, *numbers: Any) -> TreeChange:
    return TreeChange(path, one_line(x), one_line(y), *numbers)


def _in_words(change: TreeChange) -> str:
    """A change as `repr` of a `TreeDiff` writes it after the path."""
    if change.before is None or change.after is None:
        return f"{change.before or change.after}"
    same = change.before == change.after
    text = change.before if same else f"{change.before} -> {change.after}"
    if change.difference is None:
        return text + ("" if not same else ", other values")
    count = "" if change.size is None else f" in {change.elements} of {change.size} elements"
    return f"{text}, by at most {change.difference:.6g}{count}"
