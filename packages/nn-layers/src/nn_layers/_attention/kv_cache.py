"""Keys and values of what attention has seen, kept while a sequence grows."""

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from nn_layers._core.explicit_sharding import on_automatic_axes, with_sharding_of
from nn_layers._core.initialisers import default_dtype
from nn_layers._core.shape_errors import ShapeError, validate_size
from nn_layers._types import DType
from pytree_module import Module, module_from_fields
from tree_surgery.extend import public


@public
class KVCache(Module):
    r"""The keys and values that attention has computed so far, in arrays of a fixed size.

    With it each further element $i$ of a sequence costs one row of attention, with what there is of
    keys and values, instead of attention over the whole sequence:
    $$y_i = \operatorname{softmax}(q_i K_{\le i}^\top / \sqrt d) \, V_{\le i}.$$
    `MultiheadAttention.init_cache` makes one; a call takes it, and returns the
    next: `y, cache = attention(x, x, x, cache=cache, is_causal=True)`, where `x` is what follows on
    all that was given before, one element or many.

    Shapes never change, so that it passes through `jax.jit` and is the carry of a `jax.lax.scan`.
    For a batch use `jax.vmap`, also over `init_cache`. `Stacked` gives each layer its own by
    `stacked(x, each={"cache": caches}, collect=True)`, and returns the next ones.

    **Shapes:** `keys` is `(num_kv_heads, max_length, qk_size)`, `values`
    `(num_kv_heads, max_length, vo_size)`. `length` is a scalar integer: how many elements there
    are, and so the position of the next, for the `offset` of `RotaryPositionalEmbedding`.

    **Initialisation:** keys and values are 0, and no query sees them. `length` is 0.

    **Arguments:**

    - `max_length`: how many elements there may be.
    - `num_kv_heads`, `qk_size`, `vo_size`: those of the attention.
    - `dtype`: of keys and values; by default float32, or float64 under `jax_enable_x64`.

    **Source:** [Shazeer, "Fast Transformer Decoding", 2019](https://arxiv.org/abs/1911.02150).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import MultiheadAttention

        attention = MultiheadAttention(num_heads=2, query_size=8, key=jax.random.key(0))
        x = jax.random.normal(jax.random.key(1), (5, 8))
        whole = attention(x, x, x, is_causal=True)

        cache = attention.init_cache(max_length=16)
        first, cache = attention(x[:3], x[:3], x[:3], cache=cache, is_causal=True)
        fourth, cache = attention(x[3:4], x[3:4], x[3:4], cache=cache, is_causal=True)
        assert jnp.allclose(jnp.concatenate([first, fourth]), whole[:4], atol=1e-5)
        assert cache.length == 4
        ```
    """

    keys: Array
    values: Array
    length: Array

    def __init__(
        self, max_length: int, num_kv_heads: int, qk_size: int, vo_size: int, dtype: DType = None
    ):
        length = validate_size("KVCache", "max_length", max_length)
        heads = validate_size("KVCache", "num_kv_heads", num_kv_heads)
        dtype = default_dtype() if dtype is None else dtype
        qk_size = validate_size("KVCache", "qk_size", qk_size)
        vo_size = validate_size("KVCache", "vo_size", vo_size)
        self.keys = jnp.zeros((heads, length, qk_size), dtype)
        self.values = jnp.zeros((heads, length, vo_size), dtype)
        self.length = jnp.zeros((), jnp.int32)

    @property
    def max_length(self) -> int:
        """How many elements there may be."""
        return self.keys.shape[-2]


def append_to_cache(layer: Any, cache: Any, k: Array, v: Array) -> tuple[KVCache, Array, Array]:
    """Appends keys and values, both `(new_length, num_kv_heads, size)`.

    **Returns:** the next cache, and its keys and values, `(max_length, num_kv_heads, size)`, in the
    dtypes of the new ones.

    **Raises:** `TypeError` if it is no cache, `ShapeError` if it is that of another layer,
    `ValueError` if it is known to be too short.
    """
    if not isinstance(cache, KVCache):
        raise TypeError(
            f"`{type(layer).__name__}`: `cache` must be a `KVCache`, as `init_cache` makes it, got "
            f"a {type(cache).__name__}."
        )
    new_length, heads = k.shape[:2]
    kept = (cache.keys.shape, cache.values.shape)
    room = cache.max_length
    fitting = ((heads, room, k.shape[2]), (heads, room, v.shape[2]))
    if kept != fitting:
        _refuse_cache_shapes(layer, fitting, kept)
    length = cache.length
    used = _concrete_length(length)
    if new_length + (used or 0) > room:
        raise ValueError(
            f"`{type(layer).__name__}`: a cache with a `max_length` of {room} has no room for "
            f"{new_length} more{f' than the {used} there are' if used else ''}. Make it longer: "
            f"`init_cache(max_length)`."
        )
    filled = {}
    for name, rows in (("keys", k), ("values", v)):
        old = getattr(cache, name)
        rows = jnp.swapaxes(rows, 0, 1).astype(old.dtype)
        # JAX (0.7.2 to 0.12) has no rule for a batch of them, each at a place of its own.
        filled[name] = on_automatic_axes(_write, old, rows, length)
    end = length + jnp.asarray(new_length, length.dtype)
    new = module_from_fields(KVCache, **filled, length=end)
    # The cache stays where it is. What is read of it meets queries whose heads may be split.
    read = [
        with_sharding_of(jnp.swapaxes(kept, 0, 1).astype(rows.dtype), rows, slice(1, None))
        for kept, rows in ((new.keys, k), (new.values, v))
    ]
    return new, read[0], read[1]


def _write(old: Array, rows: Array, length: Array) -> Array:
    """`old` with `rows` from position `length` on."""
    zero = jnp.zeros_like(length)
    return lax.dynamic_update_slice(old, rows, (zero, length, zero))


def _concrete_length(length: Array) -> int | None:
    """A length as a number, or `None` while it is traced."""
    try:
        return int(length)
    except jax.errors.ConcretizationTypeError:
        return None


def mask_of_cache(cache: KVCache, new: KVCache, queries: int, is_causal: bool, mask: Any) -> Array:
    """`mask`, and which slots are visible: those in use, with `is_causal` up to the query's own."""
    shape = (queries, cache.max_length)
    slots = lax.broadcasted_iota(jnp.int32, shape, 1)
    if is_causal:
        visible = slots <= lax.broadcasted_iota(jnp.int32, shape, 0) + cache.length
    else:
        visible = slots < new.length
    if mask is None:
        return visible
    return jnp.logical_and(mask, visible[None] if mask.ndim == 3 else visible)


def nan_if_overfull(new: KVCache, y: Array) -> Array:
    """NaN if the cache is too short, which a compiled program can say in no other way."""
    return jnp.where(new.length <= new.max_length, y, jnp.full_like(y, jnp.nan))


def _refuse_cache_shapes(layer: Any, expected: Any, received: Any) -> NoReturn:
    """Raises the error for the cache of another layer. Each argument: shapes of keys and values."""
    raise ShapeError(
        f"`{type(layer).__name__}` takes a cache of keys and values of shapes {expected[0]} and "
        f"{expected[1]}, (num_kv_heads, max_length, size), but received one of {received[0]} and "
        f"{received[1]}. Make it by `init_cache` of this layer; of a batch, use `jax.vmap`.",
        layer,
        expected,
        received,
    )
