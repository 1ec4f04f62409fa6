"""Positions as rotations."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import wider
from nn_layers._core.shape_errors import ShapeError, refuse_shape, shape_of, size
from pytree_module import Module, field
from tree_surgery.extend import public


def _float32() -> Any:
    return jnp.float32


def _frequencies(embedding_size: int, theta: float, dtype: Any) -> Array:
    exponents = jnp.arange(0, embedding_size, 2, dtype=dtype) / embedding_size
    return 1.0 / theta**exponents


@public
class RotaryPositionalEmbedding(Module):
    r"""Rotates pairs of features by an angle that grows with the position.

    With $d$ = `embedding_size`, feature $i < d/2$ and feature $i + d/2$ of position $m$ are rotated
    by the angle $m \, \theta^{-2i/d}$:
    $$y_{m,i} = x_{m,i} \cos(m\theta^{-2i/d}) - x_{m,i+d/2} \sin(m\theta^{-2i/d}),$$
    $$y_{m,i+d/2} = x_{m,i+d/2} \cos(m\theta^{-2i/d}) + x_{m,i} \sin(m\theta^{-2i/d}).$$
    The product of two rotated vectors then depends on the difference of their positions alone.

    **Shapes:** input and output are `(seq_length, embedding_size)`. There are no parameters. For
    several heads, `(seq_length, heads, size)`, use `jax.vmap(rope, in_axes=1, out_axes=1)`.

    Angles are computed in float32 or better, whatever the dtypes; nothing is cached between calls,
    since the compiler makes a constant of them.

    **Arguments:**

    - `embedding_size`: $d$, an even number.
    - `theta`: $\theta$; the larger, the longer the sequences that can be told apart.
    - `dtype`: what sines and cosines are rounded to.

    **Raises:** `ValueError` if `embedding_size` is odd or negative.

    **Source:** [Su et al., "RoFormer", 2021](https://arxiv.org/abs/2104.09864), with the pairing of
    GPT-NeoX.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import RotaryPositionalEmbedding

        rope = RotaryPositionalEmbedding(embedding_size=4)
        x = jnp.ones((7, 4))
        y = rope(x)
        assert jnp.allclose(y[0], x[0])  # position 0 stays
        assert jnp.allclose(y[1] @ y[3], y[2] @ y[4], atol=1e-5)  # the difference counts

        # The eighth token alone, as when text is generated:
        assert jnp.allclose(rope(x[:1], offset=6), y[6:], atol=1e-5)
        ```
    """

    embedding_size: int = field(static=True)
    theta: float = field(static=True, default=10_000.0)
    dtype: DTypeLike = field(static=True, default_factory=_float32)

    def __check_init__(self) -> None:
        size("RotaryPositionalEmbedding", "embedding_size", self.embedding_size)
        if self.embedding_size % 2 != 0:
            raise ValueError(
                f"`RotaryPositionalEmbedding`: `embedding_size` must be even, got "
                f"{self.embedding_size}."
            )

    @staticmethod
    def rotate_half(x: Array) -> Array:
        """A quarter turn: the negated second half of the last axis, then the first half.

        **Arguments:**

        - `x`: of shape `(..., embedding_size)`.

        **Returns:** an array of the same shape.
        """
        first, second = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([-second, first], axis=-1)

    @staticmethod
    def precompute_freqs_cis(
        embedding_size: int, end: int, theta: float, dtype: DTypeLike
    ) -> tuple[Array, Array]:
        """Cosines and sines of all angles.

        **Arguments:**

        - `embedding_size`, `theta`, `dtype`: as for the class.
        - `end`: how many positions, from 0.

        **Returns:** two arrays of shape `(end, embedding_size // 2)`.
        """
        return _tables(jnp.arange(end), embedding_size, theta, dtype)

    def __call__(
        self,
        x: Array,
        *,
        key: PRNGKeyArray | None = None,
        offset: int | np.integer[Any] | Array = 0,
        positions: ArrayLike | None = None,
    ) -> Array:
        """Rotates the features of a sequence.

        **Arguments:**

        - `x`: of shape `(seq_length, embedding_size)`.
        - `key`: ignored; layers take a key so that all can be called alike.
        - `offset`: the position of the first element, a scalar; may be traced.
        - `positions`: the positions of all elements, an array of shape `(seq_length,)`, instead of
            `offset`, `offset + 1` and so on.

        **Returns:** an array of the shape and dtype of `x`.

        **Raises:** `ShapeError` for arrays of other shapes, `ValueError` if there are both an
        `offset` and `positions`.
        """
        received = shape_of(self, x)
        if len(received) != 2 or received[1] != self.embedding_size:
            expected = ("seq_length", f"embedding_size={self.embedding_size}")
            refuse_shape(self, expected, received)
        x = jnp.asarray(x)
        if positions is None:
            if shape_of(self, offset) != ():
                raise ShapeError(
                    f"`RotaryPositionalEmbedding`: `offset` must be a scalar, but is of shape "
                    f"{jnp.shape(offset)}. A position for each element goes into `positions`.",
                    self,
                    (),
                    jnp.shape(offset),
                )
            positions = jnp.arange(received[0]) + offset
        elif not (isinstance(offset, int) and offset == 0):
            raise ValueError(
                "`RotaryPositionalEmbedding` takes `offset` or `positions`, not both: add the "
                "offset to the positions."
            )
        elif shape_of(self, positions) != received[:1]:
            refuse_shape(self, (f"seq_length={received[0]}",), shape_of(self, positions))
        tables = _tables(jnp.asarray(positions), self.embedding_size, self.theta, self.dtype)
        wide = wider(wider(x.dtype, tables[0].dtype), jnp.dtype(jnp.float32))
        cosine, sine = (jnp.concatenate([t.astype(wide)] * 2, 1) for t in tables)
        rotated = x.astype(wide) * cosine + self.rotate_half(x).astype(wide) * sine
        return rotated.astype(x.dtype)


def _tables(positions: Array, embedding_size: int, theta: float, dtype: Any) -> tuple[Array, Array]:
    exact = wider(jnp.dtype(dtype), jnp.dtype(jnp.float32))
    frequencies = _frequencies(embedding_size, theta, exact)
    angles = jnp.outer(positions.astype(exact), frequencies)
    return jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype)
