"""`tree_stack` and `tree_unstack`: equal structures as one tree whose arrays have one more axis."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from tree_surgery._compare.diff import tree_diff
from tree_surgery._nodes.arrays import is_array_or_struct
from tree_surgery._nodes.key_paths import leaf_paths
from tree_surgery._nodes.leaf_info import number_kind
from tree_surgery._public import public
from tree_surgery._types import Tree


@public
def tree_stack(trees: Sequence[Tree], axis: int = 0) -> Tree:
    """Each array of the new tree has the arrays in its place stacked, along a new axis.

    **Arguments:**

    - `trees`: one or more trees of the same structure, whose arrays agree in shape and dtype, and
        whose other leaves (functions, numbers, strings) are equal.
    - `axis`: where the new axis is.

    **Returns:**

    A tree of the same structure. Arrays of NumPy are stacked to arrays of NumPy, and
    `jax.ShapeDtypeStruct`s get the new axis; non-array leaves are those of the first tree.

    **Raises:**

    `ValueError`, naming the path, if there are no trees, or if they differ in more than the values
    of arrays.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_stack

    layers = [{"w": jnp.full(3, i), "act": "relu"} for i in range(2)]
    stacked = tree_stack(layers)
    assert stacked["w"].tolist() == [[0, 0, 0], [1, 1, 1]] and stacked["act"] == "relu"
    ```
    """
    if not isinstance(trees, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] (a user may)
        raise TypeError(
            "`tree_stack` needs a list or a tuple of trees, but got a value of type "
            f"`{type(trees).__name__}`."
        )
    if not trees:
        raise ValueError("`tree_stack` needs at least one tree.")
    leaves, treedef = jtu.tree_flatten(trees[0])
    rows = [leaves]
    for i, tree in enumerate(trees[1:], 1):
        others, other_def = jtu.tree_flatten(tree)
        if other_def != treedef:
            raise ValueError(
                f"`tree_stack` needs trees of the same structure, but number {i} differs from the "
                f"first:\n{tree_diff(*_without_leaves(trees[0], tree))}"
            )
        rows.append(others)
    columns = list(zip(*rows, strict=True))
    for position, column in enumerate(columns):
        for i, x in enumerate(column):
            if not _can_stack(column[0], x):
                raise ValueError(
                    f"`tree_stack` cannot stack `{leaf_paths(trees[0])[position]}`: it is "
                    f"{_shape_or_value(column[0])} in the first tree and {_shape_or_value(x)} in "
                    f"number {i}.{_number_hint(x)}"
                )
    return treedef.unflatten(_stack_leaves(column, axis) for column in columns)


def _number_hint(x: Any) -> str:
    return "" if number_kind(x) is None else " To stack numbers, make them arrays first."


@public
def tree_unstack(tree: Tree, axis: int = 0) -> list[Tree]:
    """The trees that [`tree_surgery.tree_stack`][] makes this one of.

    **Arguments:**

    - `tree`: a tree of arrays, which have the same length along the axis; other leaves (functions,
        numbers, strings) come to be in each of the new trees.
    - `axis`: the axis to take apart.

    **Returns:**

    A list of trees of the same structure, as long as the axis.

    **Raises:**

    `ValueError`, naming the path, if the tree contains no array, if one has no such axis, or if
    they differ in its length.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_unstack

    one, two = tree_unstack({"w": jnp.array([[1, 2], [3, 4]]), "act": "relu"})
    assert two["w"].tolist() == [3, 4] and two["act"] == "relu"
    ```
    """
    leaves, treedef = jtu.tree_flatten(tree)
    first, length = None, 0
    for position, x in enumerate(leaves):
        if not is_array_or_struct(x):
            continue
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(
                f"`tree_unstack` cannot take `{leaf_paths(tree)[position]}` apart along axis "
                f"{axis}: it has shape {x.shape}."
            )
        if first is None:
            first, length = position, x.shape[axis]
        elif x.shape[axis] != length:
            paths = leaf_paths(tree)
            raise ValueError(
                f"`tree_unstack` needs arrays of one length along axis {axis}, but "
                f"`{paths[first]}` has shape {leaves[first].shape} and `{paths[position]}` has "
                f"shape {x.shape}."
            )
    if first is None:
        raise ValueError("`tree_unstack` needs a tree with an array in it, to know its length.")
    columns = [_unstack_leaf(x, axis, length) for x in leaves]
    return [treedef.unflatten(column[i] for column in columns) for i in range(length)]


def _can_stack(first: Any, x: Any) -> bool:
    if not is_array_or_struct(first) or not is_array_or_struct(x):
        return first is x or (type(first) is type(x) and bool(first == x))
    return first.shape == x.shape and first.dtype == x.dtype


def _stack_leaves(column: tuple[Any, ...], axis: int) -> Any:
    first = column[0]
    if not is_array_or_struct(first):
        return first
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in column):
        shape = list(first.shape)
        shape.insert(axis if axis >= 0 else axis + first.ndim + 1, len(column))
        return jax.ShapeDtypeStruct(tuple(shape), first.dtype)
    if any(isinstance(x, jax.Array) for x in column):
        return jnp.stack(column, axis)
    return np.stack(column, axis)


def _unstack_leaf(x: Any, axis: int, length: int) -> Sequence[Any]:
    if not is_array_or_struct(x):
        return [x] * length
    if isinstance(x, jax.ShapeDtypeStruct):
        shape = list(x.shape)
        del shape[axis]
        return [jax.ShapeDtypeStruct(tuple(shape), x.dtype)] * length
    if isinstance(x, jax.Array):
        return jnp.unstack(x, axis=axis)
    rows = np.moveaxis(x, axis, 0)
    # Without `...` the rows of a 1-d array would be NumPy scalars, and not arrays.
    return [rows[i, ...].copy() for i in range(length)]


def _shape_or_value(x: Any) -> str:
    if is_array_or_struct(x):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    return f"`{x!r}` of type `{type(x).__name__}`"


def _without_leaves(*trees: Any) -> list[Any]:
    """The trees with equal leaves, so that only their structures differ."""
    return [jtu.tree_map(lambda _: 0, tree) for tree in trees]
