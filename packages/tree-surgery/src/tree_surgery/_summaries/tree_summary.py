"""`tree_summary`: a table of the arrays of a tree, and which rows and columns it has."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tree_surgery._nodes.arrays import has_dtype, is_array_or_struct, sharding_of
from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._public import public
from tree_surgery._training.freeze import Frozen
from tree_surgery._training.tie import Tied

from .table import to_html, to_markdown, to_text
from .tree_size import size_of

_HEADER = ("path", "type", "shape", "dtype", "parameters", "bytes", "sharding", "trainable")
_RIGHT = frozenset({"parameters", "bytes"})


@public
def tree_summary(
    tree: object, depth: int | None = None, format: Literal["text", "markdown", "html"] = "text"
) -> str:
    """A table of all arrays in a tree, and of the nodes that hold them, with the totals of each.

    **Arguments:**

    - `tree`: a PyTree. Its arrays are those of JAX and NumPy, and `jax.ShapeDtypeStruct`s: of a
        model too large to be built, make a summary of `jax.eval_shape(build)`.
    - `depth`: how many steps from the root to go; to the leaves, without. What is deeper counts in
        the totals of the nodes above it.
    - `format`: `"text"`, `"markdown"` or `"html"`.

    **Returns:**

    A string. `parameters` are the elements of floating and complex arrays, `bytes` those of all
    arrays, each array counted once. `sharding` is the device, or the partition of the axes over
    several. `trainable` are floating and complex arrays that are not frozen (see
    [`tree_surgery.freeze`][]); a node of which some are and some are not says `part`.

    **Raises:**

    `ValueError` for another `format`, or a negative depth.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_summary

    model = {"layers": [{"w": jnp.ones((3, 4)), "b": jnp.ones(3)}], "steps": jnp.array(0)}
    print(tree_summary(model, depth=1))
    # path        type   shape  dtype  parameters  bytes  sharding  trainable
    # -----------------------------------------------------------------------
    # ['layers']  list                         15   60 B  cpu:0     yes
    # ['steps']   Array  ()     int32           0    4 B  cpu:0     no
    # -----------------------------------------------------------------------
    # total       dict                         15   64 B  cpu:0     yes
    ```
    """
    formats = {"text": to_text, "markdown": to_markdown, "html": to_html}
    if format not in formats:
        raise ValueError(f"The format of a summary is one of {list(formats)}, not {format!r}.")
    if depth is not None and depth < 0:
        raise ValueError(f"The depth of a summary is 0 or more, not {depth}.")
    root = LocatedNode(tree)
    rows = [_row(node) for node in _nodes_shown(root, math.inf if depth is None else depth)]
    total = _row(root)[1:]
    return formats[format](_HEADER, rows, ("total", *total), _RIGHT)


def _nodes_shown(node: LocatedNode, depth: float) -> Iterator[LocatedNode]:
    """The nodes that get a row: arrays, nodes with arrays in them, and `Tied`."""
    if type(node.value) is Tied or (node.index and _arrays(node)):
        yield node
    if len(node.index) < depth and type(node.value) is not Frozen:
        for child in node.children:
            yield from _nodes_shown(child, depth)


def _row(node: LocatedNode) -> tuple[str, ...]:
    """The cells of a node, in the order of `_HEADER`."""
    value = node.value.value if type(node.value) is Frozen else node.value
    arrays = _arrays(node)
    if type(value) is Tied:
        return (node.path, f"tied to {value.to}", "", "", "", "", "", "")
    size = size_of(leaf.value for leaf in arrays)
    leaf = is_array_or_struct(value)
    return (
        node.path,
        "Array" if isinstance(value, jax.Array) else type(value).__name__,
        str(value.shape) if leaf else "",
        str(value.dtype) if leaf else "",
        f"{size.parameters:,}",
        _bytes(size.bytes),
        _one_of({_sharding(leaf.value) for leaf in arrays}, "mixed"),
        _trainable(arrays),
    )


def _arrays(node: LocatedNode) -> list[LocatedNode]:
    """The arrays in a node, itself included."""
    return [leaf for leaf in node.walk() if leaf.is_leaf and is_array_or_struct(leaf.value)]


def _trainable(arrays: list[LocatedNode]) -> str:
    answers = {
        "no" if leaf.parent is not None and type(leaf.parent.value) is Frozen else "yes"
        for leaf in arrays
        if has_dtype(leaf.value, jnp.inexact)
    }
    return _one_of(answers, "part") or "no"


def _one_of(words: set[str], several: str) -> str:
    """The only word of a set; `several` if there are more, and an empty string if there is none."""
    return several if len(words) > 1 else next(iter(words), "")


def _sharding(x: Any) -> str:
    """The device of an array, or how its axes are split over several devices."""
    sharding = sharding_of(x)
    if sharding is None:
        return "host" if isinstance(x, np.ndarray | np.generic) else ""
    if len(sharding.device_set) == 1:
        (device,) = sharding.device_set
        return f"{device.platform}:{device.id}"
    if isinstance(sharding, jax.sharding.NamedSharding):
        axes = ", ".join(map(repr, sharding.spec))
        return f"P({axes}) on {len(sharding.device_set)}"
    return f"{type(sharding).__name__} on {len(sharding.device_set)}"


def _bytes(n: int) -> str:
    if n < 1000:
        return f"{n} B"
    size = float(n)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:,.3g} TB"
