"""`Embedding`: vectors looked up by an index."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core import shared_draws
from nn_layers._core.explicit_sharding import on_automatic_axes
from nn_layers._core.initialisers import default_dtype
from nn_layers._core.key_arguments import check_key
from nn_layers._core.shape_errors import refuse_shape, shape_of, validate_size
from nn_layers._types import DType
from pytree_module import Module, field
from tree_surgery.extend import public


@public
class Embedding(Module):
    r"""Looks up a row of a table: $y = W_x$ for an integer $x$.

    **Shapes:** the input is `()`, an integer; the output `(embedding_size,)`. `weight` is
    `(num_embeddings, embedding_size)`. For a sequence of integers use `jax.vmap`.

    **Initialisation:** `weight` is standard normal, or what is given.

    **Arguments:**

    - `num_embeddings`: how many rows there are.
    - `embedding_size`: the size of each.
    - `weight`: the table itself, instead of one drawn from `key`. Then the sizes may be left out.
    - `dtype`: of a table that is drawn; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the table is drawn from.

    **Raises:** `ValueError` if neither sizes and key nor `weight` are given, or they disagree.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Embedding

        embedding = Embedding(10, 3, key=jax.random.key(0))
        tokens = jnp.array([1, 5, 1])
        vectors = jax.vmap(embedding)(tokens)
        assert jnp.all(vectors == embedding.weight[tokens])
        ```
    """

    num_embeddings: int = field(static=True)
    embedding_size: int = field(static=True)
    weight: Array

    def __init__(
        self,
        num_embeddings: int | None = None,
        embedding_size: int | None = None,
        weight: Array | None = None,
        dtype: DType = None,
        *,
        key: PRNGKeyArray | None = None,
    ):
        rows, width = num_embeddings, embedding_size
        if rows is not None:
            rows = validate_size("Embedding", "num_embeddings", rows)
        if width is not None:
            width = validate_size("Embedding", "embedding_size", width)
        if weight is not None:
            rows, width = _checked_shape(weight, rows, width)
        elif rows is None or width is None or key is None:
            raise ValueError(
                "`Embedding` needs `num_embeddings`, `embedding_size` and `key`, or otherwise the "
                "table itself as `weight`."
            )
        else:
            weight = _draw_table((rows, width), dtype, key)
        self.num_embeddings = rows
        self.embedding_size = width
        self.weight = weight

    def __call__(
        self, x: int | np.integer[Any] | Array, *, key: PRNGKeyArray | None = None
    ) -> Array:
        """Looks one index up.

        **Arguments:**

        - `x`: an integer, or an integer array of shape `()`. Negative ones count from the end; one
            beyond the table counts as the last (an array cannot raise an error while compiled).
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of shape `(embedding_size,)`.

        **Raises:** `ShapeError` for an `x` with axes, `TypeError` for one that is no integer.
        """
        received = shape_of(self, x)
        if received != ():
            refuse_shape(self, (), received)
        dtype = jnp.result_type(x)
        if not jnp.issubdtype(dtype, jnp.integer):
            raise TypeError(f"`Embedding` takes an integer as index, received one of {dtype}.")
        # JAX (0.7.2 to 0.12) has no rule for rows of a batch of indices, nor for their gradients.
        index: Any = x
        return on_automatic_axes(lambda table, i: table[i], jnp.asarray(self.weight), index, drop=1)


def _draw_table(shape: tuple[int, int], dtype: DType, key: PRNGKeyArray) -> Array:
    """A standard normal table.

    **Raises:** `TypeError` if `key` is not a key, `ValueError` if the dtype is not inexact.
    """
    try:
        known = default_dtype() if dtype is None else jnp.dtype(dtype)
        return shared_draws.draw(jr.normal, key, shape, known)
    except (TypeError, ValueError):
        check_key("Embedding", key)
        if not jnp.issubdtype(dtype or float, jnp.inexact):
            raise ValueError(
                f"`Embedding`: `dtype` must be floating point or complex, got {jnp.dtype(dtype)}. "
                f"A table of integers can be given as `weight`."
            ) from None
        raise


def _checked_shape(weight: Array, rows: int | None, width: int | None) -> tuple[int, int]:
    """The shape of a table, which must be a matrix, and of the sizes that are given."""
    sizes, shape = (rows, width), jnp.shape(weight)
    if len(shape) != 2 or any(n not in (None, m) for n, m in zip(sizes, shape, strict=True)):
        raise ValueError(
            f"`Embedding`: `weight` must have shape (num_embeddings, embedding_size) = "
            f"({', '.join('any' if n is None else str(n) for n in sizes)}), got {shape}."
        )
    return shape[0], shape[1]
