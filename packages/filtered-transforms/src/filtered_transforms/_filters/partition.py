"""Taking a tree apart into what a filter selects and the rest, and putting it together again."""

import functools
import operator
from collections.abc import Callable
from itertools import compress
from typing import Any

import jax.tree_util as jtu

from filtered_transforms._types import FilterSpec, T
from tree_surgery import path_str
from tree_surgery.extend import public

from .predicates import array_mask, inexact_mask, is_array, is_inexact_array

_MASKS: dict[Any, Callable[[list[Any]], list[bool]]] = {
    is_array: array_mask,
    is_inexact_array: inexact_mask,
}


def _bad_spec(name: str, path: tuple[Any, ...], spec: Any) -> ValueError:
    return ValueError(
        f"`{name}` must consist of booleans and callables only. At {path_str(path)} it has "
        f"a {type(spec).__name__}: {spec!r}."
    )


def mask_of(
    pytree: Any,
    filter_spec: Any,
    is_leaf: Callable[[Any], bool] | None,
    name: str = "filter_spec",
) -> tuple[list[Any], list[Any], Any]:
    """The leaves of `pytree`, whether `filter_spec` selects each, and the treedef.

    Errors call the filter by `name`.
    """
    leaves, treedef = jtu.tree_flatten(pytree, is_leaf=is_leaf)
    many = _MASKS.get(filter_spec) if filter_spec.__class__ is _FUNCTION else None
    if many is not None:
        return leaves, many(leaves), treedef
    paths, spec_treedef = jtu.tree_flatten_with_path(filter_spec)
    if spec_treedef.num_nodes == 1 and len(paths) == 1 and filter_spec is paths[0][1]:
        if isinstance(filter_spec, bool):
            return leaves, [filter_spec] * len(leaves), treedef
        if not callable(filter_spec):
            raise _bad_spec(name, (), filter_spec)
        return leaves, [filter_spec(leaf) for leaf in leaves], treedef
    mask: list[Any] = []
    for (path, spec), subtree in zip(
        paths, _prefix(spec_treedef, filter_spec, pytree, is_leaf, name), strict=True
    ):
        below = jtu.tree_leaves(subtree, is_leaf=is_leaf)
        if isinstance(spec, bool):
            mask += [spec] * len(below)
        elif callable(spec):
            mask += [spec(leaf) for leaf in below]
        else:
            raise _bad_spec(name, path, spec)
    return leaves, mask, treedef


_FUNCTION = type(is_array)


def _prefix(spec_treedef: Any, spec: Any, pytree: Any, is_leaf: Any, name: str) -> list[Any]:
    try:
        return spec_treedef.flatten_up_to(pytree)
    except ValueError as error:
        found = jtu.tree_structure(pytree, is_leaf=is_leaf)
        raise ValueError(
            f"`{name}` must be a prefix of the tree that it filters: pytree structure error. "
            f"{error} The structure of the spec is {spec_treedef}, that of the tree {found}."
        ) from None


@public
def partition(
    pytree: T,
    filter_spec: FilterSpec,
    replace: object = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> tuple[T, T]:
    """Splits a tree in two of the same shape: the leaves that a filter selects, and the others.

    `combine` puts them together again: `combine(*partition(tree, spec))` equals `tree`.

    **Arguments:**

    - `pytree`: any PyTree.
    - `filter_spec`: a function of a leaf, called for each; a `bool`; or a tree of those that is a
        prefix of `pytree`.
    - `replace`: what stands in either tree where the leaf is in the other.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`.

    **Returns:** a pair of trees.

    **Raises:** `ValueError` if `filter_spec` is no prefix of `pytree`, or has a leaf that is
    neither `bool` nor callable.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import is_array, partition

    arrays, others = partition([jnp.ones(2), "relu", 3], is_array)
    assert arrays[1:] == [None, None] and others == [None, "relu", 3]
    ```
    """
    leaves, mask, treedef = mask_of(pytree, filter_spec, is_leaf)
    yes = [leaf if selected else replace for leaf, selected in zip(leaves, mask, strict=True)]
    no = [replace if selected else leaf for leaf, selected in zip(leaves, mask, strict=True)]
    return treedef.unflatten(yes), treedef.unflatten(no)


@public
def filter(
    pytree: T,
    filter_spec: FilterSpec,
    inverse: bool = False,
    replace: object = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> T:
    """Keeps the leaves of a tree that a filter selects, and puts `replace` for the others.

    **Arguments:**

    - `pytree`, `filter_spec`, `replace`, `is_leaf`: as for `partition`.
    - `inverse`: keep the leaves that the filter does not select instead.

    **Returns:** a tree: the first of `partition`, or the second if `inverse`.

    **Raises:** as `partition`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter, is_array

    assert filter([1, "relu"], is_array) == [None, None]
    assert filter([1, "relu"], is_array, inverse=True) == [1, "relu"]
    ```
    """
    leaves, mask, treedef = mask_of(pytree, filter_spec, is_leaf)
    return treedef.unflatten(
        [
            leaf if bool(selected) != inverse else replace
            for leaf, selected in zip(leaves, mask, strict=True)
        ]
    )


_is_none = functools.partial(operator.is_, None)  # a third quicker than a function of ours


@public
def combine(*pytrees: T, is_leaf: Callable[[Any], bool] | None = None) -> T:
    """Merges trees of the same shape: each leaf is the first that is not `None`.

    **Arguments:**

    - `*pytrees`: at least one tree. Where one has `None`, a later one may have a leaf or a subtree.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`.

    **Returns:** a tree.

    **Raises:** `TypeError` without a tree, `ValueError` if the trees do not fit.

    ```python
    from filtered_transforms import combine

    assert combine([1, None], [None, "relu"]) == [1, "relu"]
    ```
    """
    if len(pytrees) == 0:
        raise TypeError("`combine` needs at least one tree; got none.")
    first, *others = pytrees
    leaf = _is_none if is_leaf is None else lambda x: x is None or is_leaf(x)
    leaves, treedef = jtu.tree_flatten(first, is_leaf=leaf)
    for i, other in enumerate(others):
        empty = [leaf is None for leaf in leaves]
        try:
            found = treedef.flatten_up_to(other)
        except ValueError as error:
            raise ValueError(
                f"`combine` got trees that do not fit: pytree structure error. Tree {i + 1} has "
                f"another structure than tree 0. {error}"
            ) from None
        leaves = list(map(_choose, empty, found, leaves))
    return treedef.unflatten(leaves)


def _choose(empty: bool, new: Any, old: Any) -> Any:
    return new if empty else old


def merge(mask: list[bool], selected: Any, others: Any) -> list[Any]:
    """The inverse of `compress`ing a list by a mask and by its complement."""
    selected, others = iter(selected), iter(others)
    return [next(selected) if here else next(others) for here in mask]


def split(leaves: list[Any], mask: list[bool]) -> tuple[list[Any], list[Any]]:
    """The leaves where `mask` is true, and the others."""
    return list(compress(leaves, mask)), [
        leaf for leaf, here in zip(leaves, mask, strict=True) if not here
    ]
