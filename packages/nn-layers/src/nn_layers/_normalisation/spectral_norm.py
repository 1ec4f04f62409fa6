"""`SpectralNorm`: a weight divided by its largest singular value, which power iterations find."""

import math
from collections.abc import Callable
from typing import Generic

import jax.numpy as jnp
import jax.random as jr
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import at_least_float32
from nn_layers._core.initialisers import separate_keys
from nn_layers._core.layer_protocol import StatefulLayer
from nn_layers._core.shape_errors import validate_size
from nn_layers._state.state import State
from nn_layers._state.state_arguments import check_state
from nn_layers._state.state_index import StateIndex
from nn_layers._types import Layer_co, R
from pytree_module import field
from tree_surgery.extend import public

from .weight_norm import call_with, weight_of

_FIRST_ITERATIONS = 15


def _power_iterations(weight: Array, v: Array, eps: float, count: int) -> tuple[Array, Array]:
    """`count` power iterations (at least one) from a right singular vector `v`."""

    def unit(x: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(jnp.real(x) ** 2 + jnp.imag(x) ** 2 if _is_complex(x) else x**2))
        return x / jnp.maximum(norm, eps).astype(x.dtype)

    u = v
    for _ in range(count):
        u = unit(weight @ v)
        v = unit((jnp.conj(weight) if _is_complex(weight) else weight).T @ u)
    return u, v


def _as_matrix(weight: Array) -> Array:
    """The weight as (first axis, product of the others), in float32 or better."""
    # Not `reshape(..., -1)`, which is ambiguous if the first axis is empty.
    return at_least_float32(weight).reshape(weight.shape[0], math.prod(weight.shape[1:]))


def _is_complex(x: Array) -> bool:
    """Whether `x` is of complex numbers, whose conjugates count."""
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


@public
class SpectralNorm(StatefulLayer, Generic[Layer_co]):
    r"""Calls a layer with a weight divided by its largest singular value.

    $W / \sigma(W)$ with $\sigma(W) = u^\top W v$, where $u$ and $v$ approach the first pair of
    singular vectors. In training each call improves them by power iterations and returns them in
    the new state; in inference they stay as they are. Gradients do not flow through the iterations.
    They are computed in float32 or better; a weight of zeros stays zero.

    **Shapes:** input and output are those of `layer`. The weight `weight_name` of `layer` counts as
    a matrix of shape (first axis, product of the others); $u$ and $v$ in the state, of the dtype of
    the weight, are vectors of these two sizes.

    **Initialisation:** $u$ and $v$ come from a standard normal vector by 15 power iterations.

    **Arguments:**

    - `layer`: the layer, such as `Linear` or `Conv2d`.
    - `weight_name`: the name of its parameter.
    - `num_power_iterations`: how many iterations each call in training does.
    - `eps`: the least that a vector is divided by when it is brought to length 1.
    - `inference`: whether to leave $u$ and $v$ as they are. `inference_mode` sets it.
    - `key`: what $u$ and $v$ are drawn from.

    **Raises:** `ValueError` if the weight has less than two axes; `AttributeError` or `TypeError`
    if there is none.

    **Source:** [Miyato et al., "Spectral Normalization for Generative Adversarial Networks",
    2018](https://arxiv.org/abs/1802.05957).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Linear, SpectralNorm, make_with_state

        key1, key2 = jax.random.split(jax.random.key(0))
        linear = Linear(3, 4, use_bias=False, key=key1)
        norm, state = make_with_state(SpectralNorm)(linear, "weight", key=key2)
        y, state = norm(jnp.ones(3), state)
        largest = jnp.linalg.svd(linear.weight)[1][0]
        assert jnp.allclose(y, linear(jnp.ones(3)) / largest, atol=1e-4)
        ```
    """

    layer: Layer_co
    weight_name: str = field(static=True)
    uv_index: StateIndex[tuple[Array, Array]]
    num_power_iterations: int = field(static=True)
    eps: float = field(static=True)
    inference: bool

    def __init__(
        self,
        layer: Layer_co,
        weight_name: str,
        num_power_iterations: int = 1,
        eps: float = 1e-12,
        inference: bool = False,
        *,
        key: PRNGKeyArray,
    ):
        weight = weight_of("SpectralNorm", layer, weight_name)
        if weight.ndim < 2:
            raise ValueError(
                f"`SpectralNorm`: `{weight_name}` must be at least two-dimensional, but that of "
                f"{type(layer).__name__} is of shape {weight.shape}."
            )
        self.layer = layer
        self.weight_name = weight_name
        self.num_power_iterations = validate_size(
            "SpectralNorm", "num_power_iterations", num_power_iterations
        )
        self.eps = eps
        self.inference = inference
        matrix = lax.stop_gradient(_as_matrix(weight))
        _, own_key = separate_keys("SpectralNorm", key, 2)
        start = jr.normal(own_key, (matrix.shape[1],), weight.dtype)
        u, v = _power_iterations(matrix, start.astype(matrix.dtype), eps, _FIRST_ITERATIONS)
        self.uv_index = StateIndex((u.astype(weight.dtype), v.astype(weight.dtype)))

    def __call__(
        self: "SpectralNorm[Callable[..., R]]",
        x: Array,
        state: State,
        *,
        key: PRNGKeyArray | None = None,
        inference: bool | None = None,
    ) -> tuple[R, State]:
        """Calls the layer.

        **Arguments:**

        - `x`: what the layer takes.
        - `state`: a `State` from `make_with_state`.
        - `key`: given to the layer, if it takes one.
        - `inference`: overrides the field of that name.

        **Returns:** the pair of what the layer returns and the new state.

        **Raises:** `TypeError` if `state` is none; and what the layer raises.
        """
        check_state(self, state)
        weight = getattr(self.layer, self.weight_name)
        matrix = _as_matrix(weight)
        u, v = (at_least_float32(vector) for vector in state.get(self.uv_index))
        training = not (self.inference if inference is None else inference)
        if training and self.num_power_iterations > 0:
            fixed = lax.stop_gradient(matrix)
            u, v = _power_iterations(fixed, v, self.eps, self.num_power_iterations)
            state = state.set(self.uv_index, (u.astype(weight.dtype), v.astype(weight.dtype)))
        sigma = jnp.einsum("i,ij,j->", jnp.conj(u) if _is_complex(u) else u, matrix, v)
        sigma = jnp.where(sigma == 0, jnp.ones_like(sigma), sigma)
        normalised = (matrix / sigma).reshape(weight.shape).astype(weight.dtype)
        return call_with(self, self.layer, self.weight_name, normalised, x, key), state
