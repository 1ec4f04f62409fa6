"""Attention of one head, for layers of one's own."""

import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import ShapeError
from nn_layers._dense.dropout import Dropout
from tree_surgery.extend import public

from .softmax_attention import attend, attention_weights


@public("nn_layers.extend")
def dot_product_attention_weights(query: Array, key: Array, mask: Array | None = None) -> Array:
    r"""How much each query takes from each value: $\text{softmax}(q k^\top / \sqrt{d})$.

    **Arguments:**

    - `query`: of shape `(query_length, qk_size)`.
    - `key`: of shape `(kv_length, qk_size)`.
    - `mask`: of shape `(query_length, kv_length)`: where it is true a query may see a key. One that
        may see none sees all alike.

    **Returns:** an array of shape `(query_length, kv_length)` and the dtype of `query`. The softmax
    is taken in float32 or wider.

    **Raises:** `ShapeError` for arrays of other shapes.

    ```python
    import jax
    import jax.numpy as jnp
    from nn_layers.extend import dot_product_attention_weights

    q, k = jax.random.normal(jax.random.key(0), (2, 4, 8))
    weights = dot_product_attention_weights(q, k, jnp.tril(jnp.ones((4, 4), bool)))
    assert weights[0].tolist() == [1, 0, 0, 0]
    assert jnp.allclose(weights.sum(1), 1)
    ```
    """
    name = "dot_product_attention_weights"
    _check(name, query, key, key, mask)
    return attention_weights(query, key, mask, None, None).astype(query.dtype)


@public("nn_layers.extend")
def dot_product_attention(
    query: Array,
    key_: Array,
    value: Array,
    mask: Array | None = None,
    dropout: Dropout | None = None,
    *,
    key: PRNGKeyArray | None = None,
    inference: bool | None = None,
) -> Array:
    r"""Attention of one head: $\text{softmax}(q k^\top / \sqrt{d})\, v$.

    Several heads are `jax.vmap(dot_product_attention, in_axes=1, out_axes=1)` of arrays of shape
    `(length, num_heads, size)`.

    **Arguments:**

    - `query`: of shape `(query_length, qk_size)`.
    - `key_`: of shape `(kv_length, qk_size)`.
    - `value`: of shape `(kv_length, v_size)`.
    - `mask`: of shape `(query_length, kv_length)`: where it is true a query may see a key. One that
        may see none takes the mean of all values.
    - `dropout`: what drops weights.
    - `key`, `inference`: for the dropout.

    **Returns:** an array of shape `(query_length, v_size)`.

    **Raises:** `ShapeError` for arrays of other shapes; `RuntimeError` if there is a dropout and no
    key.

    ```python
    import jax
    import jax.numpy as jnp
    from nn_layers.extend import dot_product_attention, dot_product_attention_weights

    q, k, v = jax.random.normal(jax.random.key(0), (3, 4, 8))
    y = dot_product_attention(q, k, v)
    assert jnp.allclose(y, dot_product_attention_weights(q, k) @ v, atol=1e-6)
    ```
    """
    _check("dot_product_attention", query, key_, value, mask)
    drop = None
    if dropout is not None:
        drop = functools.partial(_drop, dropout, inference)
    keys = None if key is None else jnp.expand_dims(key, 0)
    mask = None if mask is None else jnp.asarray(mask)
    q, k, v = (jnp.expand_dims(x, 1) for x in (query, key_, value))
    return attend(q, k, v, mask, None, False, drop, keys)[:, 0]


def _drop(dropout: Dropout, inference: Any, weights: Array, key: Any) -> Array:
    return dropout(weights, key=key, inference=inference)


def _check(name: str, query: Any, key: Any, value: Any, mask: Array | None) -> None:
    shapes = q, k, v = jnp.shape(query), jnp.shape(key), jnp.shape(value)
    if any(len(shape) != 2 for shape in shapes) or q[1] != k[1] or k[0] != v[0]:
        raise ShapeError(
            f"`{name}` takes queries of shape (query_length, qk_size), keys (kv_length, qk_size) "
            f"and values (kv_length, v_size) of one head, but received {q}, {k} and {v}. If there "
            f"are more axes, use `jax.vmap`."
        )
    if mask is not None and jnp.shape(mask) != (q[0], k[0]):
        raise ShapeError(
            f"`{name}`: `mask` must be of shape (query_length, kv_length) = {(q[0], k[0])}, but "
            f"received one of shape {jnp.shape(mask)}."
        )
