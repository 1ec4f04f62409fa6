"""`tree_size`: the number of parameters of a tree, and its bytes in all and on each device."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.sharding import AbstractMesh

from tree_surgery._nodes.arrays import bytes_of, has_dtype, is_array_or_struct, sharding_of
from tree_surgery._public import public


@public
class TreeSize(NamedTuple):
    """How large the arrays of a tree are. See [`tree_surgery.tree_size`][].

    - `parameters`: the elements of all floating and complex arrays.
    - `bytes`: of all arrays.
    - `per_device`: the bytes on each device; arrays of NumPy, and shapes without a sharding or
        with one on an abstract mesh, are on none.

    ```python
    from tree_surgery import TreeSize

    assert TreeSize(parameters=2, bytes=8, per_device={}).bytes == 8
    ```
    """

    parameters: int
    bytes: int
    per_device: dict[Any, int]


@public
def tree_size(tree: object) -> TreeSize:
    """The parameters and bytes of all arrays in a tree, each array counted once.

    Nothing is computed or moved. An array that is one object in several places is counted once; one
    that is replicated over devices is counted once in `bytes`, and on each device in `per_device`.

    **Arguments:**

    - `tree`: a PyTree. Its arrays are those of JAX and NumPy, and `jax.ShapeDtypeStruct`s.

    **Returns:**

    A [`tree_surgery.TreeSize`][]: the numbers `parameters` and `bytes`, and `per_device`, a
    dictionary from devices to bytes.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_size

    size = tree_size({"weight": jnp.ones((3, 4), jnp.bfloat16), "steps": jnp.array(0)})
    assert (size.parameters, size.bytes) == (12, 28)
    assert sum(size.per_device.values()) == 28
    ```
    """
    return size_of(jtu.tree_leaves(tree))


def size_of(leaves: Iterable[Any]) -> TreeSize:
    """The size of some leaves, each array counted once."""
    arrays = {id(x): x for x in leaves if is_array_or_struct(x)}.values()
    per_device: dict[Any, int] = {}
    for x in arrays:
        for device, n in _shards(x):
            per_device[device] = per_device.get(device, 0) + n
    parameters = sum(x.size for x in arrays if has_dtype(x, jnp.inexact))
    return TreeSize(int(parameters), sum(map(bytes_of, arrays)), per_device)


def _shards(x: Any) -> list[tuple[Any, int]]:
    """The devices that hold a part of an array, each with the bytes of the part."""
    sharding = sharding_of(x)
    if sharding is None or isinstance(getattr(sharding, "mesh", None), AbstractMesh):
        return []
    size = int(np.prod(sharding.shard_shape(x.shape), dtype=np.int64)) * int(x.dtype.itemsize)
    return [(device, size) for device in sharding.device_set]
