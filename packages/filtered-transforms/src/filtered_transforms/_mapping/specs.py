"""Partition specs for trees: how each array is split over a mesh."""

from typing import Any

import jax.tree_util as jtu
from jax.sharding import PartitionSpec

from tree_surgery import path_str


def specs_of(spec: Any, tree: Any, name: str) -> list[PartitionSpec]:
    """The spec for each leaf of `tree`; it is meaningless for non-array leaves.

    **Raises:** `ValueError` if `spec` is no prefix of `tree`, or holds something that is neither
    `None`, a `PartitionSpec` nor a function that returns one of these.
    """
    specs, treedef = jtu.tree_flatten(spec, is_leaf=_is_spec)
    try:
        subtrees = treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(
            f"`{name}` does not fit what it is for: {error} `{name}` is {spec!r}; the structure is "
            f"{jtu.tree_structure(tree)}."
            + (
                " `in_specs` is a prefix of the tuple of the positional arguments."
                * (name[0] == "i")
            )
        ) from None
    found: list[PartitionSpec] = []
    for i, (one, subtree) in enumerate(zip(specs, subtrees, strict=True)):
        for leaf in jtu.tree_leaves(subtree):
            made = one(leaf) if callable(one) else one
            if made is not None and not isinstance(made, PartitionSpec):
                path = jtu.tree_leaves_with_path(spec, is_leaf=_is_spec)[i][0]
                raise ValueError(
                    f"`in_specs` and `out_specs` consist of `jax.sharding.PartitionSpec`s, None, "
                    f"and functions from a leaf to these. `{name}` has or gives a "
                    f"{type(made).__name__} at {path_str(path)}: {made!r}."
                )
            found.append(PartitionSpec() if made is None else made)
    return found


def _is_spec(x: Any) -> bool:
    return x is None or isinstance(x, PartitionSpec)
