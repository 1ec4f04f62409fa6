"""`WeightNorm`: a weight as direction and magnitude, and what it shares with `SpectralNorm`."""

import functools
from collections.abc import Callable
from typing import Any, Generic

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import at_least_float32
from nn_layers._core.layer_protocol import takes_key
from nn_layers._core.shape_errors import add_layer_path
from nn_layers._types import Layer_co, R
from pytree_module import Module, field
from tree_surgery import tree_replace
from tree_surgery.extend import public


def weight_of(wrapper: str, layer: Any, name: str) -> Array:
    """The parameter of that name.

    **Raises:** `AttributeError` if there is none, `TypeError` if it is not an array of numbers.
    """
    try:
        weight = getattr(layer, name)
    except AttributeError:
        raise AttributeError(
            f"`{wrapper}`: {type(layer).__name__} has no parameter `{name}`. Say by `weight_name=` "
            f"which one to normalise."
        ) from None
    if not hasattr(weight, "dtype") or not jnp.issubdtype(weight.dtype, jnp.inexact):
        raise TypeError(
            f"`{wrapper}`: `{name}` of {type(layer).__name__} must be an array of "
            f"floating-point or complex numbers, got {weight!r}."
        )
    return weight


def call_with(wrapper: Any, layer: Any, name: str, weight: Array, x: Any, key: Any) -> Any:
    """The layer in `wrapper`, with that weight, called."""
    layer = tree_replace(layer, **{name: weight})
    try:
        return layer(x, key=key) if takes_key(layer) else layer(x)
    except Exception as error:
        add_layer_path(error, wrapper, "layer", layer)
        raise


def _norm_of(weight: Array, axis: int | None, of_zero: float) -> Array:
    """As below, but a plain function: a field holds it, and it is compared and pickled by name."""
    return _compiled_norm_of(weight, axis, of_zero)


# Compiled in one piece, it rounds as other implementations do.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _compiled_norm_of(weight: Array, axis: int | None, of_zero: float) -> Array:
    """The norm over all axes but one, which are kept with size 1; `of_zero` where it is 0."""
    if jnp.issubdtype(weight.dtype, jnp.complexfloating):
        square = jnp.real(weight * jnp.conj(weight))
    else:
        square = weight * weight
    over = tuple(i for i in range(weight.ndim) if axis is None or i != axis % weight.ndim)
    squares = jnp.sum(square, over, keepdims=True)
    is_zero = squares == 0
    # The derivative of the root is infinite at 0.
    norm = jnp.sqrt(jnp.where(is_zero, jnp.ones_like(squares), squares))
    return jnp.where(is_zero, jnp.full_like(norm, of_zero), norm)


@public
class WeightNorm(Module, Generic[Layer_co]):
    r"""Calls a layer with a weight whose direction and magnitude are separate parameters.

    $$W = g \, \frac{v}{\lVert v \rVert}$$
    with one norm for each index of `axis`, over all other axes: for a `Linear` that is one for each
    output, $W_{ij} = g_i v_{ij} / \sqrt{\sum_j v_{ij}^2}$. Norms are computed in float32 or better.
    Where $v$ is zero, $W$ is too, and gradients are finite.

    **Shapes:** input and output are those of `layer`. $v$ is the parameter `weight_name` of
    `layer`, and keeps its shape; `g` has that shape too, but for 1 on every axis but `axis`.

    **Initialisation:** $g = \lVert v \rVert$, so that the wrapped layer computes what it did.

    **Arguments:**

    - `layer`: the layer, such as `Linear` or `Conv2d`.
    - `weight_name`: the name of its parameter.
    - `axis`: the axis with a norm for each index; `None` for a single norm over all.

    **Raises:** `AttributeError`, `TypeError` or `ValueError` if there is no such parameter, it is
    not an array of floating-point or complex numbers, or it has no such axis.

    **Source:** [Salimans and Kingma, "Weight Normalization",
    2016](https://arxiv.org/abs/1602.07868).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Linear, WeightNorm

        linear = Linear(3, 2, key=jax.random.key(0))
        norm = WeightNorm(linear)
        assert norm.g.shape == (2, 1)
        assert jnp.allclose(norm(jnp.ones(3)), linear(jnp.ones(3)), atol=1e-6)
        ```
    """

    layer: Layer_co
    g: Array
    weight_name: str = field(static=True)
    axis: int | None = field(static=True)
    # One function for all instances: they are equal, and share their compiled programs.
    _norm: Callable[[Array, int | None, float], Array]

    def __init__(self, layer: Layer_co, weight_name: str = "weight", axis: int | None = 0):
        weight = weight_of("WeightNorm", layer, weight_name)
        if axis is not None:
            if isinstance(axis, bool) or not hasattr(axis, "__index__"):
                raise TypeError(f"`WeightNorm`: `axis` must be an integer or `None`, got {axis!r}.")
            axis = axis.__index__()
            if not -weight.ndim <= axis < weight.ndim:
                raise ValueError(
                    f"`WeightNorm`: `{weight_name}` of {type(layer).__name__} is of shape "
                    f"{weight.shape}, which has no axis {axis}."
                )
        norm = _norm_of(at_least_float32(weight), axis, 0.0)
        self.layer = layer
        self.g = norm.astype(jnp.finfo(weight.dtype).dtype)
        self.weight_name = weight_name
        self.axis = axis
        self._norm = _norm_of

    def __call__(
        self: "WeightNorm[Callable[..., R]]", x: Array, *, key: PRNGKeyArray | None = None
    ) -> R:
        """Calls the layer.

        **Arguments:**

        - `x`: what the layer takes.
        - `key`: given to the layer, if it takes one.

        **Returns:** what the layer returns.
        """
        v = getattr(self.layer, self.weight_name)
        wide = at_least_float32(v)
        norm = self._norm(wide, self.axis, 1.0)
        weight = wide * self.g.astype(wide.dtype) / norm.astype(wide.dtype)
        return call_with(self, self.layer, self.weight_name, weight.astype(v.dtype), x, key)
