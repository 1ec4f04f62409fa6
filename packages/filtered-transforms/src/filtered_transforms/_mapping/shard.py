"""`filter_shard`: where the arrays of a tree are."""

from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax import is_concrete
from filtered_transforms._types import PyTree, T
from tree_surgery.extend import public


@public
def filter_shard(x: T, device_or_shardings: PyTree) -> T:
    """Puts the arrays of a tree on a device, or distributes them over several.

    **Arguments:**

    - `x`: any PyTree. Leaves that are no arrays are left as they are.
    - `device_or_shardings`: a `jax.Device`, a `jax.sharding.Sharding`, or a tree of those that is a
        prefix of `x`.

    **Returns:**

    `x`, with arrays placed by `jax.device_put`, or, where they are traced, constrained by
    `jax.lax.with_sharding_constraint`.

    **Raises:** `ValueError` if `device_or_shardings` is no prefix of `x`.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_shard

    placed = filter_shard((jnp.ones(3), "name"), jax.devices()[0])
    assert placed[1] == "name" and placed[0].devices() == {jax.devices()[0]}
    ```
    """
    return jtu.tree_map(
        lambda where, subtree: jtu.tree_map(lambda leaf: _place(leaf, where), subtree),
        device_or_shardings,
        x,
    )


def _place(leaf: Any, where: Any) -> Any:
    if not is_array(leaf):
        return leaf
    if is_concrete(leaf):
        return jax.device_put(leaf, where)
    if isinstance(where, jax.Device):
        where = jax.sharding.SingleDeviceSharding(where)
    return jax.lax.with_sharding_constraint(leaf, where)
