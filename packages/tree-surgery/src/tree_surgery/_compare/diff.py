"""`tree_diff`: what is different between two trees."""

from typing import Any, NamedTuple

import jax
import numpy as np

from tree_surgery._jax import Tracer
from tree_surgery._nodes.arrays import is_array_or_struct, is_key
from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._nodes.one_level import open_node
from tree_surgery._public import public
from tree_surgery._show.pformat import tree_pformat

_WIDEST = 60  # of a description


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
        lines = [f"{sign} {change.path:{width}}  {_told(change)}" for sign, change in changes]
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
    x, y = a.value, b.value
    if x is y:
        return
    if x is None or y is None:
        changes.append(TreeChange(a.path, describe(x), describe(y)))
    elif a.is_leaf and b.is_leaf:
        change = _compare_leaves(a.path, x, y)
        if change is not None:
            changes.append(change)
    elif type(x) is not type(y):
        changes.append(TreeChange(a.path, describe(x), describe(y)))
    else:
        _compare_nodes(a, b, changes)


def _compare_nodes(a: LocatedNode, b: LocatedNode, changes: list[TreeChange]) -> None:
    before = len(changes)
    ours = {str(child.key): child for child in (*a.children, *a.static)}
    theirs = {str(child.key): child for child in (*b.children, *b.static)}
    for key, child in ours.items():
        if key in theirs:
            _compare(child, theirs[key], changes)
        else:
            changes.append(TreeChange(child.path, describe(child.value) or "None", None))
    for key, child in theirs.items():
        if key not in ours:
            changes.append(TreeChange(child.path, None, describe(child.value) or "None"))
    one, other = open_node(a.value), open_node(b.value)
    if len(changes) == before and one and other and one[2] != other[2]:
        what = f"`{type(a.value).__name__}` with other static parts"
        changes.append(TreeChange(a.path, f"`{type(a.value).__name__}`", what))


def _compare_leaves(path: str, x: Any, y: Any) -> TreeChange | None:
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        raise ValueError(
            f"`tree_diff` compares values, but `{path}` is being traced and has none yet. Call it "
            "outside of `jax.jit`; `tree_equal` works within."
        )
    numbers = bool, int, float, complex
    if is_array_or_struct(x) and is_array_or_struct(y):
        same = x.shape == y.shape and x.dtype == y.dtype
        if isinstance(x, jax.ShapeDtypeStruct) or isinstance(y, jax.ShapeDtypeStruct):
            return None if same else _change(path, x, y)
    elif isinstance(x, numbers) and isinstance(y, numbers):
        same = type(x) is type(y)
    else:
        return None if _equal(x, y) else _change(path, x, y)
    if np.shape(x) != np.shape(y) or is_key(x) != is_key(y):
        return _change(path, x, y)
    difference, elements = _difference(x, y)
    if same and not elements:
        return None
    if not is_array_or_struct(x):
        return _change(path, x, y, difference)
    return _change(path, x, y, difference, elements, int(np.prod(np.shape(x), dtype=int)))


def _difference(x: Any, y: Any) -> tuple[float | None, int]:
    """The largest absolute difference, and how many elements differ."""
    if is_key(x):
        data = [np.asarray(jax.random.key_data(k)) for k in (x, y)]
        if data[0].shape != data[1].shape:
            return None, x.size
        return None, int((data[0] != data[1]).any(-1).sum())
    x, y = np.asarray(x), np.asarray(y)
    wide = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
    if {x.dtype.kind, y.dtype.kind} <= set("iu"):
        differs = x != y  # exact, where doubles are not
        x, y = x.astype(wide), y.astype(wide)
    else:
        x, y = x.astype(wide), y.astype(wide)
        differs = (x != y) & ~(np.isnan(x) & np.isnan(y))
    if not differs.any():
        return 0.0, 0
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.abs(x - y)[differs].max()), int(differs.sum())


def _equal(x: Any, y: Any) -> bool:
    try:
        return bool(x == y)
    except Exception:  # objects that cannot be compared are not equal
        return False


def _change(path: str, x: Any, y: Any, *numbers: Any) -> TreeChange:
    return TreeChange(path, describe(x) or "None", describe(y) or "None", *numbers)


def describe(x: Any) -> str | None:
    """In one line; `None` for `None`."""
    if x is None:
        return None
    text = " ".join(tree_pformat(x, width=10**6, struct_as_array=True).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _told(change: TreeChange) -> str:
    if change.before is None or change.after is None:
        return f"{change.before or change.after}"
    same = change.before == change.after
    text = change.before if same else f"{change.before} -> {change.after}"
    if change.difference is None:
        return text + ("" if not same else ", other values")
    return f"{text}, by at most {change.difference:.6g}{_of(change)}"


def _of(change: TreeChange) -> str:
    return "" if change.size is None else f" in {change.elements} of {change.size} elements"
