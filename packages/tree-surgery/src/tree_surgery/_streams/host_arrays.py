"""Arrays of JAX to arrays of NumPy and back, one leaf at a time.

Here is decided how the shards of an array are gathered without a second copy of the tree, and on
which devices a loaded array is put.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding, Sharding

from tree_surgery._errors import SerialiseError
from tree_surgery._jax import Tracer

_SMALL = 1 << 14  # bytes; below this a copy takes less time than `device_put`


def to_host(x: jax.Array) -> np.ndarray[Any, Any]:
    """The values of an array from all its devices. Of typed PRNG keys, their words.

    The shards are gathered one by one. `np.asarray` of the whole array would cache its copy on the
    array, and so keep a second copy of a sharded tree in memory.
    """
    if isinstance(x, Tracer):
        raise SerialiseError(
            f"{x} is being traced, and has no value yet. Save outside of `jax.jit`."
        )
    if not (x.is_fully_addressable or x.is_fully_replicated):
        raise SerialiseError(
            "this process holds only a part of the array. `tree_surgery.save` gathers it, if all "
            "processes call it; or gather it by `jax.experimental.multihost_utils."
            "process_allgather`."
        )
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.is_fully_replicated:
        return np.asarray(x.addressable_data(0))
    whole = np.empty(x.shape, x.dtype)
    for shard in x.addressable_shards:
        if shard.replica_id == 0:
            whole[shard.index] = np.asarray(shard.data)
    return whole


def to_device(value: np.ndarray[Any, Any] | jax.Array, like: Any) -> jax.Array:
    """An array of JAX on the devices of `like`, as `placement` says.

    JAX takes over the memory of `value` where it can, so nobody may write to `value` afterwards.
    An array of JAX was read to where it belongs, and stays there.
    """
    if isinstance(value, jax.Array):
        return value
    check_width(value.dtype)
    sharding = placement(like)
    if sharding is None and value.nbytes < _SMALL:
        return jnp.asarray(value)
    if isinstance(sharding, Sharding) and not sharding.is_fully_addressable:
        return jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
    return jax.device_put(value, sharding)


def placement(like: Any) -> Any:
    """The sharding for an array that is loaded for `like`. `None` leaves the choice to JAX.

    It is the sharding of a committed array, or of a `jax.ShapeDtypeStruct` that has one.
    """
    if isinstance(like, jax.Array):
        return like.sharding if like.committed else None
    sharding = getattr(like, "sharding", None)
    if not (isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh)):
        return sharding
    # `jax.eval_shape` over explicit axes gives an abstract mesh. The context has its devices.
    if sharding.mesh.shape != jax.sharding.get_abstract_mesh().shape:
        raise SerialiseError(
            f"`like` is sharded over an abstract mesh, {dict(sharding.mesh.shape)}, which names no "
            f"devices. Load within `jax.set_mesh(mesh)`, of a mesh with these axes."
        )
    return sharding.spec


def check_width(dtype: Any) -> None:
    """Raise if JAX has the dtype only with `jax_enable_x64`: it would halve the width silently."""
    if dtype != jax.dtypes.float0 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise SerialiseError(f"JAX arrays of dtype {dtype} need `jax_enable_x64`.")
