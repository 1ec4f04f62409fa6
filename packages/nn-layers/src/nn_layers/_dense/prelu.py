"""The activation function that learns its slope."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import refuse_shape, shape_of
from pytree_module import Module
from tree_surgery.extend import public


@public
class PReLU(Module):
    r"""Scales what is negative by a slope that is learnt.

    $$y = \begin{cases} x & x \ge 0 \\ a \, x & x < 0 \end{cases}$$

    **Shapes:** any. `negative_slope` ($a$) is of the shape of `init_alpha`, which must broadcast to
    that of the input: `()` for one slope in all, `(n,)` for one for each of the last axis.

    **Initialisation:** `negative_slope` is `init_alpha`, by default 0.25.

    **Arguments:**

    - `init_alpha`: the initial slope, a number or an array.

    **Source:** [He et al., "Delving Deep into Rectifiers", 2015](https://arxiv.org/abs/1502.01852).

    !!! example

        ```python
        import jax.numpy as jnp
        from nn_layers import PReLU

        assert jnp.all(PReLU()(jnp.array([-4.0, 2.0])) == jnp.array([-1.0, 2.0]))
        ```
    """

    negative_slope: Array

    def __init__(self, init_alpha: float | Array | None = 0.25):
        self.negative_slope = jnp.asarray(0.25 if init_alpha is None else init_alpha)

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Applies the function elementwise.

        **Arguments:**

        - `x`: an array that the slope broadcasts to.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of the shape of `x`, of the dtype that `x` and the slope promote to.

        **Raises:** `ShapeError` if slope and `x` do not fit.
        """
        received = shape_of(self, x)
        slope: Any = self.negative_slope
        try:
            shape = jnp.broadcast_shapes(slope.shape, received)
        except ValueError:
            refuse_shape(self, ("...", *slope.shape), received)
        slope, x = jnp.broadcast_to(slope, shape), jnp.broadcast_to(x, shape)
        # A slope given as a Python number has a weak dtype: it does not widen a bfloat16.
        with jax.numpy_dtype_promotion("standard"):
            return jnp.where(x >= 0, x, slope * x)
