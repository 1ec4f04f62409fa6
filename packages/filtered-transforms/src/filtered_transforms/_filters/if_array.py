"""`if_array`: one thing for arrays, and nothing for everything else."""

import dataclasses

from filtered_transforms._types import AxisOrPlace
from tree_surgery.extend import public

from .predicates import is_array


@public
@dataclasses.dataclass(frozen=True)
class if_array:
    """An axis for arrays, and none for everything else: `if_array(axis)(x)`.

    **Arguments:**

    - `axis`: what to return for an array, as `is_array`: an axis to map over, or where arrays lie
        on several devices a `jax.sharding.PartitionSpec` or a `jax.sharding.Sharding`.

    It is a leaf of trees of axes, as `None` and integers are.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import if_array

    assert if_array(1)(jnp.ones((2, 3))) == 1 and if_array(1)("relu") is None
    ```
    """

    axis: AxisOrPlace

    def __call__(self, x: object) -> AxisOrPlace | None:
        return self.axis if is_array(x) else None
