"""`GroupNorm`: groups of channels of one example, normalised by their own statistics."""

from typing import Any, overload

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import apply_promoted, at_least_float32, scale_and_shift
from nn_layers._core.initialisers import constant, default_dtype
from nn_layers._core.missing import MISSING
from nn_layers._core.shape_errors import refuse_shape, shape_of, validate_size
from nn_layers._state.state_arguments import StateOrNone, pass_state_on
from nn_layers._types import DType
from pytree_module import Module, field
from tree_surgery.extend import public


@public
class GroupNorm(Module):
    r"""Normalises each group of channels to mean 0 and variance 1, then scales and shifts channels.

    For the channels $c$ of group $g$:
    $$y_c = \frac{x_c - \mathbb{E}[x_g]}{\sqrt{\mathbb{V}[x_g] + \varepsilon}} \, w_c + b_c$$
    with mean and (biased) variance over the channels of the group and all further axes, computed in
    float32 or better. One group is a `LayerNorm` with a weight for each channel; as many groups as
    channels are instance normalisation.

    **Shapes:** input and output are `(channels, dim_1, ..., dim_N)`, for any N; `weight` and `bias`
    are `(channels,)`.

    **Initialisation:** `weight` is 1, `bias` is 0.

    **Arguments:**

    - `groups`: into how many groups the channels are split.
    - `channels`: how many channels the input has; needed for `channelwise_affine`.
    - `eps`: $\varepsilon$, added for numerical stability.
    - `channelwise_affine`: whether to scale and shift each channel.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.

    **Raises:** `ValueError` if `groups` does not divide `channels`, or `channels` are needed and
    not given.

    **Source:** [Wu and He, "Group Normalization", 2018](https://arxiv.org/abs/1803.08494).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import GroupNorm

        norm = GroupNorm(groups=2, channels=4)
        y = norm(jax.random.normal(jax.random.key(0), (4, 8, 8)))
        assert jnp.allclose(y[:2].mean(), 0, atol=1e-5) and jnp.allclose(y[2:].var(), 1, atol=1e-3)
        ```
    """

    groups: int = field(static=True)
    channels: int | None = field(static=True)
    eps: float = field(static=True)
    channelwise_affine: bool = field(static=True)
    weight: Array | None
    bias: Array | None

    def __init__(
        self,
        groups: int,
        channels: int | None = None,
        eps: float = 1e-5,
        channelwise_affine: bool = True,
        dtype: DType = None,
    ):
        self.groups = groups = validate_size("GroupNorm", "groups", groups, least=1)
        if channels is not None:
            channels = validate_size("GroupNorm", "channels", channels)
            if channels % groups != 0:
                raise ValueError(
                    f"`GroupNorm`: `groups` (={groups}) must divide `channels` (={channels})."
                )
        elif channelwise_affine:
            raise ValueError(
                "`GroupNorm`: `channels` must be given, since each channel has a weight and a "
                "bias; for none of them pass `channelwise_affine=False`."
            )
        self.channels = channels
        self.eps = eps
        self.channelwise_affine = channelwise_affine
        dtype = default_dtype() if dtype is None else dtype
        self.weight = self.bias = None
        if channelwise_affine and channels is not None:
            self.weight = constant((channels,), 1, dtype)
            self.bias = constant((channels,), 0, dtype)

    @overload
    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array: ...
    @overload
    def __call__(
        self, x: Array, state: StateOrNone, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, StateOrNone]: ...
    def __call__(self, x: Array, state: Any = MISSING, *, key: PRNGKeyArray | None = None) -> Any:
        """Normalises one example.

        **Arguments:**

        - `x`: of shape `(channels, dim_1, ..., dim_N)`, of any dtype.
        - `state`: a `State` or `None`, passed on unchanged: this can stand where `BatchNorm` did.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** an array of the shape and dtype of `x`; with a `state`, the pair of it and the
        state.

        **Raises:** `ShapeError` for an `x` with other channels, or channels that the groups do not
        divide.
        """
        received = shape_of(self, x)
        if self.channels is not None and received[:1] != (self.channels,):
            refuse_shape(self, (f"channels={self.channels}", "..."), received, _fix(received))
        if not received or received[0] % self.groups != 0:
            expected = (f"channels (a multiple of groups={self.groups})", "...")
            refuse_shape(self, expected, received, _fix(received))
        x = jnp.asarray(x)
        grouped = at_least_float32(x).reshape(
            self.groups, received[0] // self.groups, *received[1:]
        )
        axes = tuple(range(1, grouped.ndim))
        mean = jnp.mean(grouped, axes, keepdims=True)
        variance = jnp.maximum(0.0, jnp.var(grouped, axes, keepdims=True))
        y = apply_promoted(jnp.multiply, grouped - mean, lax.rsqrt(variance + self.eps))
        y = scale_and_shift(y.reshape(received), self.weight, self.bias, channels=True)
        return pass_state_on(self, y.astype(x.dtype), state)


def _fix(received: tuple[int, ...]) -> str:
    """What to do about an input of this shape, for the error."""
    if not received:
        return "Channels are the first axis of an example."
    return (
        "Channels come first: for channels last use `jax.numpy.moveaxis(x, -1, 0)`, for a batch "
        "`jax.vmap(layer)(x)`."
    )
