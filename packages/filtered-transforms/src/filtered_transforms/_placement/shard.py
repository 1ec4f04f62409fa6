"""`filter_shard` and `filter_device_put`: where the arrays of a tree are."""

from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.tracers import is_concrete
from filtered_transforms._types import PyTree, T
from tree_surgery.extend import public

from .placements import constrained, described, placements_of


@public
def filter_shard(x: T, device_or_shardings: PyTree) -> T:
    """Puts the arrays of a tree on a device, or distributes them over several.

    **Arguments:**

    - `x`: any PyTree. Non-array leaves are left as they are.
    - `device_or_shardings`: a `jax.Device`, a `jax.sharding.Sharding`, a
        `jax.sharding.PartitionSpec` under `jax.set_mesh`, `None` (the array stays where it is),
        or a function of the path and the value of a leaf that returns one of these; or a tree of
        those that is a prefix of `x`, such as [`tree_surgery.tree_shardings`][] returns; or, under
        `jax.set_mesh`, [`tree_surgery.ShardingRules`][].

    **Returns:**

    `x`, with arrays placed by `jax.device_put`, or, where they are traced, constrained by
    `jax.lax.with_sharding_constraint` (on explicit axes of a mesh, by `jax.sharding.reshard`). A
    `jax.ShapeDtypeStruct` says from then on that its array lies there; its mesh may be abstract.

    **Raises:** `ValueError` if `device_or_shardings` is no prefix of `x`, `TypeError` if it holds
    something else.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_shard

    placed = filter_shard((jnp.ones(3), "name"), jax.devices()[0])
    assert placed[1] == "name" and placed[0].devices() == {jax.devices()[0]}
    ```
    """
    leaves, treedef = jtu.tree_flatten(x)
    places = placements_of(device_or_shardings, x, "device_or_shardings")
    return treedef.unflatten(map(_shard, leaves, places))


@public
def filter_device_put(
    x: T, device_or_shardings: PyTree = None, *, donate: bool = False, may_alias: bool | None = None
) -> T:
    """Copies the arrays of a tree to a device, or to several: `jax.device_put` for any tree.

    All arrays go in one call, which does not wait for them.

    **Arguments:**

    - `x`: any PyTree. NumPy arrays become JAX arrays; non-array leaves are left as they are.
    - `device_or_shardings`: as in [`filtered_transforms.filter_shard`][]. `None` is the default
        device for arrays of NumPy, and leaves those of JAX where they are.
    - `donate`: whether the memory of the arrays of `x` may be reused: they cannot be used after it.
    - `may_alias`: whether the result may share memory with `x`; `jax.device_put` decides, if it is
        left out.

    **Returns:**

    `x`, with its arrays on these devices.

    **Raises:** `ValueError` if `device_or_shardings` is no prefix of `x`, `TypeError` if it holds
    something else.

    ```python
    import jax
    import numpy as np
    from filtered_transforms import filter_device_put

    model = filter_device_put({"weight": np.ones(3), "activation": jax.nn.relu})
    assert isinstance(model["weight"], jax.Array) and model["activation"] is jax.nn.relu
    ```
    """
    leaves, treedef = jtu.tree_flatten(x)
    places = placements_of(device_or_shardings, x, "device_or_shardings")
    at = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    options: dict[str, Any] = {"donate": donate, "may_alias": may_alias}
    moved = jax.device_put([leaves[i] for i in at], [places[i] for i in at], **options)
    for i, array in zip(at, moved, strict=True):
        leaves[i] = array
    return treedef.unflatten(leaves)


def _shard(leaf: Any, place: Any) -> Any:
    if place is None:
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return described(leaf, place)
    return jax.device_put(leaf, place) if is_concrete(leaf) else constrained(leaf, place)
