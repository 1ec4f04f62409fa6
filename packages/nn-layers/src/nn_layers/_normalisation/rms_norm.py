"""Normalisation of one example by its root mean square."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from nn_layers._core.dtypes import promoted
from tree_surgery.extend import public

from .layer_norm import ExampleNorm


@public
class RMSNorm(ExampleNorm, init=False):
    r"""Divides all elements of one example by their root mean square, then scales and shifts.

    $$y = \frac{x}{\sqrt{\frac{1}{n} \lVert x \rVert_2^2 + \varepsilon}} \, w + b$$
    with the mean over every axis of $x$, computed in float32 or better. Of complex numbers it is
    the mean of $\lvert x_i \rvert^2$.

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

    @staticmethod
    def _normalised(x: Array, eps: float) -> Array:
        square = jnp.real(x * jnp.conj(x)) if jnp.iscomplexobj(x) else x**2
        return promoted(jnp.multiply, x, lax.rsqrt(jnp.mean(square) + eps))
