"""Normalisation of one example by its root mean square."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from pytree_module import Module, field

from ._dtypes import exact, promoted
from ._errors import check_shape
from ._init import default_dtype
from ._norm import MISSING, shape_tuple


class RMSNorm(Module):
    r"""Divides all elements of one example by their root mean square, then scales and shifts.

    $$y = \frac{x}{\sqrt{\frac{1}{n} \lVert x \rVert_2^2 + \varepsilon}} \, w + b$$
    with the mean over every axis of $x$, computed in float32 or better.

    **Shapes:** input, output, `weight` and `bias` all are of shape `shape`. To normalise over the
    last axis only, as a transformer does for each token, use `jax.vmap` over the others.

    **Initialisation:** `weight` is 1, `bias` is 0.

    **Arguments:**

    - `shape`: the shape of the input, or an integer for a vector.
    - `eps`: $\varepsilon$, added for numerical stability.
    - `use_weight`, `use_bias`: whether to scale, and to shift.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.

    **Source:** [Zhang and Sennrich, "Root Mean Square Layer Normalization",
    2019](https://arxiv.org/abs/1910.07467).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import RMSNorm

        norm = RMSNorm(4, use_bias=False)
        y = norm(jnp.array([1.0, 2.0, 3.0, 4.0]))
        assert jnp.allclose((y**2).mean(), 1, atol=1e-4)

        tokens = jnp.ones((7, 4))
        assert jax.vmap(norm)(tokens).shape == (7, 4)
        ```
    """

    shape: tuple[int, ...] = field(static=True)
    eps: float = field(static=True)
    use_weight: bool = field(static=True)
    use_bias: bool = field(static=True)
    weight: Array | None
    bias: Array | None

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float = 1e-5,
        use_weight: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
    ):
        self.shape = shape = shape_tuple("RMSNorm", shape)
        self.eps = eps
        self.use_weight = use_weight
        self.use_bias = use_bias
        dtype = default_dtype() if dtype is None else dtype
        self.weight = jnp.ones(shape, dtype) if use_weight else None
        self.bias = jnp.zeros(shape, dtype) if use_bias else None

    @jax.named_scope("nn.RMSNorm")
    def __call__(self, x: Array, state: Any = MISSING, *, key: PRNGKeyArray | None = None) -> Any:
        """Normalises one example.

        **Arguments:**

        - `x`: of shape `shape`, of any dtype.
        - `state`: passed through unchanged, so that this can stand where `BatchNorm` did.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of the shape and dtype of `x`; with a `state`, the pair of it and the
        state.

        **Raises:** `ShapeError` for an `x` of another shape.
        """
        check_shape(self, x, self.shape)
        x = jnp.asarray(x)
        wide = exact(x)
        y = wide * lax.rsqrt(jnp.mean(wide**2) + self.eps)
        if self.weight is not None:
            y = promoted(jnp.multiply, self.weight, y)
        if self.bias is not None:
            y = promoted(jnp.add, y, self.bias)
        y = y.astype(x.dtype)
        return y if state is MISSING else (y, state)
