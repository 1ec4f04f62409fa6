"""`LayerNorm`, and what it shares with `RMSNorm`: one example, normalised by its own statistics."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import apply_promoted, at_least_float32, scale_and_shift
from nn_layers._core.initialisers import constant, default_dtype
from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import check_shape, validate_size
from nn_layers._state.state_arguments import StateOrNone, pass_state_on
from nn_layers._types import DType
from pytree_module import Module, field
from pytree_module.extend import warn_user
from tree_surgery.extend import public


def _shape_tuple(layer: str, value: Any) -> tuple[int, ...]:
    """The `shape` given to a normalisation, as a tuple; an integer stands for a vector."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    return tuple(validate_size(layer, "shape", entry) for entry in values)


class ExampleNorm(Module):
    """Base class of `LayerNorm` and `RMSNorm`: normalises a whole example, scales and shifts.

    A subclass says by `_normalise_example` what normalising is.
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
        dtype: DType = None,
    ):
        self.shape = shape = _shape_tuple(type(self).__name__, shape)
        self.eps = eps
        self.use_weight = use_weight
        self.use_bias = use_bias
        dtype = default_dtype() if dtype is None else dtype
        self.weight = constant(shape, 1, dtype) if use_weight else None
        self.bias = constant(shape, 0, dtype) if use_bias else None

    @overload
    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array: ...
    @overload
    def __call__(
        self, x: Array, state: StateOrNone, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, StateOrNone]: ...
    def __call__(self, x: Array, state: Any = MISSING, *, key: PRNGKeyArray | None = None) -> Any:
        """Normalises one example.

        **Arguments:**

        - `x`: of shape `shape`, of any dtype.
        - `state`: a `State` or `None`, passed on unchanged: this can stand where `BatchNorm` did.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of the shape and dtype of `x`; with a `state`, the pair of it and the
        state.

        **Raises:** `ShapeError` for an `x` of another shape.
        """
        check_shape(self, x, self.shape)
        x = jnp.asarray(x)
        y = _normalise_scale_and_shift(self._normalise_example, x, self.weight, self.bias, self.eps)
        return pass_state_on(self, y, state)

    @staticmethod
    def _normalise_example(x: Array, eps: float) -> Array:
        """The whole example, normalised: the step in which the two differ."""
        raise NotImplementedError


# Compiled: JAX keeps what it traced, and its derivative and batched form, for all norms of a model.
@functools.partial(jax.jit, static_argnums=(0, 4))
def _normalise_scale_and_shift(
    normalise_example: Callable[[Array, float], Array],
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> Array:
    """The whole computation of a norm."""
    y = normalise_example(at_least_float32(x), eps)
    return scale_and_shift(y, weight, bias).astype(x.dtype)


@public
class LayerNorm(ExampleNorm):
    r"""Normalises all elements of one example to mean 0 and variance 1, then scales and shifts.

    $$y = \frac{x - \mathbb{E}[x]}{\sqrt{\mathbb{V}[x] + \varepsilon}} \, w + b$$
    with mean and (biased) variance over every axis of $x$, computed in float32 or better.

    **Shapes:** input, output, `weight` and `bias` all are of shape `shape`. To normalise over the
    last axis only, as a transformer does for each token, use `jax.vmap` over the others.

    **Initialisation:** `weight` is 1, `bias` is 0.

    **Arguments:**

    - `shape`: the shape of the input, or an integer for a vector.
    - `eps`: $\varepsilon$, added for numerical stability.
    - `use_weight`, `use_bias`: whether to scale, and to shift.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `elementwise_affine`: deprecated; sets both `use_weight` and `use_bias`.

    **Source:** [Ba et al., "Layer Normalization", 2016](https://arxiv.org/abs/1607.06450).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import LayerNorm

        norm = LayerNorm(4)
        y = norm(jnp.array([1.0, 2.0, 3.0, 4.0]))
        assert jnp.allclose(y.mean(), 0, atol=1e-6) and jnp.allclose(y.var(), 1, atol=1e-4)

        tokens = jnp.ones((7, 4))
        assert jax.vmap(norm)(tokens).shape == (7, 4)
        ```
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        eps: float = 1e-5,
        use_weight: bool = True,
        use_bias: bool = True,
        dtype: DType = None,
        *,
        elementwise_affine: bool | None = None,
    ):
        if elementwise_affine is not None:
            warn_user(
                "`LayerNorm(elementwise_affine=...)` is deprecated in favour of `use_weight` and "
                "`use_bias`; it sets both."
            )
            use_weight = use_bias = elementwise_affine
        super().__init__(shape, eps, use_weight, use_bias, dtype)

    @staticmethod
    def _normalise_example(x: Array, eps: float) -> Array:
        """`x` with mean 0 and variance 1."""
        mean = jnp.mean(x, keepdims=True)
        variance = jnp.maximum(0.0, jnp.var(x, keepdims=True))
        return apply_promoted(jnp.multiply, x - mean, lax.rsqrt(variance + eps))
