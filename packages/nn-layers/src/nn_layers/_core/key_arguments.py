"""The keys that layers are made from."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array


def split_key(layer: str, key: Any, count: int) -> Array:
    """`jax.random.split(key, count)`.

    **Raises:** `TypeError` naming the layer if `key` is not a key.
    """
    try:
        return jr.split(key, count)
    except (TypeError, ValueError):  # to look first would cost time each time
        check_key(layer, key)
        raise


def check_key(layer: str, key: Any) -> None:
    """Refuses what is not one key. For where something has failed, and the key may be to blame."""
    if key is None:
        raise TypeError(
            f"`{layer}` draws its initial parameters at random: pass `key=`, such as "
            f"`key=jax.random.key(seed)`."
        ) from None
    axes = _batch_axes(key)
    if axes == ():
        return
    came = repr(key) if axes is None else f"keys of shape {axes}"
    fix = "" if axes is None else " To make several layers at once, use `filter_vmap` or `Stacked`."
    raise TypeError(
        f"`{layer}`: `key` must be one key, such as `jax.random.key(0)`, got {came}.{fix}"
    ) from None


def _batch_axes(key: Any) -> tuple[int, ...] | None:
    """The axes of an array of keys, those of one key left out; `None` if it is no such array."""
    dtype = getattr(key, "dtype", None)
    if dtype is None:
        return None
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return key.shape
    return key.shape[:-1] if dtype == jnp.uint32 and key.ndim > 0 else None
