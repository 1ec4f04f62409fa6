"""Typed PRNG keys taken apart for files: their words, and the name of their implementation."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.host_arrays import placement


def implementation_of(x: jax.Array) -> str:
    """The name of the PRNG implementation of some keys in JAX, such as `threefry2x32`."""
    return str(jax.random.key_impl(x))


def words_of(implementation: str) -> tuple[Any, np.dtype[Any], tuple[int, ...]]:
    """The dtype of keys of an implementation, and the dtype and shape of the words of one key."""
    try:
        key = jax.eval_shape(lambda: jax.random.key(0, impl=implementation))
    except Exception as error:  # which one JAX raises for an unknown name depends on its version
        raise SerialiseError(
            f"the PRNG implementation {implementation!r} of its keys is not known here: {error}"
        ) from error
    words = jax.eval_shape(jax.random.key_data, key)
    return key.dtype, np.dtype(words.dtype), words.shape


def to_keys(words: np.ndarray[Any, Any], implementation: str, like: Any) -> jax.Array:
    """Keys made from their words, put where `like` is (see `placement`)."""
    sharding = placement(like)
    if isinstance(sharding, NamedSharding) and not sharding.is_fully_addressable:
        # `jax.device_put` puts no keys on devices of other processes; their words go there.
        own = words.ndim - len(like.shape)
        entries = [*sharding.spec, *[None] * (words.ndim - own - len(sharding.spec)), *[None] * own]
        whole = NamedSharding(sharding.mesh, PartitionSpec(*entries))
        shared = jax.make_array_from_callback(words.shape, whole, words.__getitem__)
        return jax.random.wrap_key_data(shared, impl=implementation)
    keys = jax.random.wrap_key_data(jax.device_put(words), impl=implementation)
    return keys if sharding is None else jax.device_put(keys, sharding)
