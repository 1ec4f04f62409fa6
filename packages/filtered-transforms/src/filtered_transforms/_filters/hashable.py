"""A tree as a list of leaves to trace and a rest that can be a key."""

from typing import Any

from filtered_transforms._types import FilterSpec, PyTree
from tree_surgery.extend import public

from .partition import mask_of, merge, split


@public("filtered_transforms.extend")
def hashable_partition(pytree: PyTree, filter_fn: FilterSpec) -> tuple[list[Any], tuple[Any, ...]]:
    """Splits a tree into the list of leaves that a filter selects, and a hashable rest.

    **Arguments:**

    - `pytree`: any PyTree whose other leaves have a hash.
    - `filter_fn`: as the `filter_spec` of `filtered_transforms.partition`.

    **Returns:**

    A pair `(dynamic, static)`. `static` is hashable if the leaves in it are, and equal for trees
    of equal structure with equal static leaves of the same types. `hashable_combine(dynamic,
    static)` is the tree.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import is_array
    from filtered_transforms.extend import hashable_combine, hashable_partition

    dynamic, static = hashable_partition({"x": jnp.ones(2), "f": "relu"}, is_array)
    assert len(dynamic) == 1 and hash(static) is not None
    assert hashable_combine([0], static) == {"x": 0, "f": "relu"}
    ```
    """
    leaves, mask, treedef = mask_of(pytree, filter_fn, None)
    mask = [bool(selected) for selected in mask]
    dynamic, others = split(leaves, mask)
    return dynamic, (treedef, tuple(mask), tuple(others), tuple(map(type, others)))


@public("filtered_transforms.extend")
def hashable_combine(dynamic_leaves: list[Any], static: tuple[Any, ...]) -> PyTree:
    """The inverse of `hashable_partition`.

    **Arguments:**

    - `dynamic_leaves`: as many leaves as `hashable_partition` selected, in the same order.
    - `static`: the rest, as `hashable_partition` returned it.

    **Returns:** a tree.
    """
    treedef, mask, others, _ = static
    return treedef.unflatten(merge(list(mask), dynamic_leaves, others))
