"""Arrays of JAX as arrays of NumPy and back, one leaf at a time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding

from tree_surgery._errors import SerialiseError
from tree_surgery._jax import Tracer

_SMALL = 1 << 14  # bytes


def to_host(x: jax.Array) -> np.ndarray[Any, Any]:
    """The values of an array, wherever it is. Of typed keys, the words that they consist of.

    An array keeps what `np.asarray` makes of it, if that is a copy, so that a tree that is spread
    over several devices would be in memory once more in the end. Its shards are gathered instead.
    """
    if isinstance(x, Tracer):
        raise SerialiseError(
            f"{x} is being traced, and has no value yet. Save outside of `jax.jit`."
        )
    if not (x.is_fully_addressable or x.is_fully_replicated):
        raise SerialiseError(
            "this process holds only a part of the array. Gather it first, for example by "
            "`jax.experimental.multihost_utils.process_allgather`."
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


def to_device(value: np.ndarray[Any, Any], like: Any) -> jax.Array:
    """An array of JAX, where `like` is, as `placement` says.

    The memory is taken over, not copied, where that can be: nobody may write to it any more.
    """
    check_width(value.dtype)
    sharding = placement(like)
    if sharding is None and value.nbytes < _SMALL:
        return jnp.asarray(value)  # in half the time, for a copy
    return jax.device_put(value, sharding)


def placement(like: Any) -> Any:
    """The sharding that an array made after `like` gets, or `None` for JAX's choice.

    It is that of an array that was put somewhere, or of a `jax.ShapeDtypeStruct` which has one.
    """
    if isinstance(like, jax.Array):
        return like.sharding if like.committed else None
    sharding = getattr(like, "sharding", None)
    if not (isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh)):
        return sharding
    # As from `jax.eval_shape` over explicit axes: which devices these are, the context says.
    if sharding.mesh.shape != jax.sharding.get_abstract_mesh().shape:
        raise SerialiseError(
            f"`like` is sharded over an abstract mesh, {dict(sharding.mesh.shape)}, which names no "
            f"devices. Load within `jax.set_mesh(mesh)`, of a mesh with these axes."
        )
    return sharding.spec


def check_width(dtype: Any) -> None:
    """Raise for a dtype that JAX has only with `jax_enable_x64`."""
    if dtype != jax.dtypes.float0 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise SerialiseError(f"JAX arrays of dtype {dtype} need `jax_enable_x64`.")
