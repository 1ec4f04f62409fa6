"""`BatchNorm`: normalisation by the statistics of a batch, whose running averages are a state."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.dtypes import apply_promoted, at_least_float32, per_channel, scale_and_shift
from nn_layers._core.explicit_sharding import on_automatic_axes
from nn_layers._core.initialisers import constant, default_dtype
from nn_layers._core.layer_protocol import StatefulLayer
from nn_layers._core.shape_errors import refuse_shape, shape_of, validate_size
from nn_layers._jax import mapped_name
from nn_layers._state.state import State
from nn_layers._state.state_arguments import check_state
from nn_layers._state.state_index import StateIndex
from nn_layers._types import DType
from pytree_module import field
from pytree_module.extend import warn_user
from tree_surgery.extend import public

_UNSPECIFIED = (
    "`BatchNorm` without `mode` uses 'ema', as code for Equinox expects, which often trains badly. "
    "Write `mode='batch'` for what the paper and other libraries do, or `mode='ema'` to keep this."
)


@public
class BatchNorm(StatefulLayer):
    r"""Normalises each channel by the mean and variance over a batch, then scales and shifts it.

    $$y = \frac{x - \mu}{\sqrt{v + \varepsilon}} \, w + b$$

    In training, with `mode="batch"` (recommended), $\mu$ and (biased) variance $v$ are those of the
    batch and of all axes but the first; running averages of them, with weight `momentum` on the
    past, are kept in the state, and are used in inference. With `mode="ema"` the running averages
    are used in training too. Statistics are computed in float32 or better.

    Call it in a `jax.vmap` that has an `axis_name`, and hand the state on:
    `jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)`.

    **Shapes:** input and output of one example are `(input_size, dim_1, ..., dim_N)`, for any N,
    which may change from call to call; `weight`, `bias`, and mean and variance in the state are
    `(input_size,)`.

    **Initialisation:** `weight` is 1, `bias` is 0. The running mean is 0; the running variance 1
    for "batch" and 0 for "ema", or `init_variance`.

    With `mode="batch"`, inference divides both running averages by $1 - \texttt{momentum}^t$ after
    $t$ steps, as Equinox does. This is exact for the mean, which starts at 0, but too large for a
    variance that starts at 1, until $\texttt{momentum}^t$ is small. With an `init_variance` $v_0$
    inference takes $(v - \texttt{momentum}^t v_0) / (1 - \texttt{momentum}^t)$, which is exact.
    With `mode="ema"`, and no step taken, inference divides by $\sqrt{0 + \varepsilon}$ unless there
    is an `init_variance`. So `BatchNorm(n, "batch", mode="batch", init_variance=1.0)` is best, when
    no numbers have to be the same as before.

    **Arguments:**

    - `input_size`: how many channels there are.
    - `axis_name`: the `axis_name` of the `jax.vmap` over the batch, or several of them.
    - `eps`: $\varepsilon$, added for numerical stability.
    - `channelwise_affine`: whether to scale and shift each channel.
    - `momentum`: the weight of the past in the running averages.
    - `inference`: whether to use the running averages, and not to change the state.
        `inference_mode` sets it.
    - `dtype`: of parameters and state; by default float32, or float64 under `jax_enable_x64`.
    - `mode`: `"batch"` or `"ema"`. Without it, `"ema"`, and a warning.
    - `init_variance`: the running variance before the first step.

    **Raises:** `ValueError` for a mode that is none, or an axis named twice.

    **Source:** [Ioffe and Szegedy, "Batch Normalization", 2015](https://arxiv.org/abs/1502.03167).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import BatchNorm, inference_mode, make_with_state

        norm, state = make_with_state(BatchNorm)(3, axis_name="batch", mode="batch")
        images = jax.random.normal(jax.random.key(0), (8, 3, 5, 5))
        batched = jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        y, state = batched(images, state)
        assert jnp.allclose(y.mean((0, 2, 3)), 0, atol=1e-5)

        evaluated = inference_mode(norm)  # needs no batch
        y, state = evaluated(images[0], state)
        ```
    """

    weight: Array | None
    bias: Array | None
    ema_first_time_index: StateIndex[Array] | None
    ema_state_index: StateIndex[tuple[Array, Array]] | None
    batch_counter: StateIndex[Array] | None
    batch_state_index: StateIndex[tuple[Array, Array]] | None
    axis_name: Hashable | Sequence[Hashable]
    inference: bool
    input_size: int = field(static=True)
    eps: float = field(static=True)
    channelwise_affine: bool = field(static=True)
    momentum: float = field(static=True)
    mode: Literal["batch", "ema"] = field(static=True)
    init_variance: float | None = field(static=True, default=None)

    def __init__(  # noqa: PLR0917 - Equinox fixes it
        self,
        input_size: int,
        axis_name: Hashable | Sequence[Hashable],
        eps: float = 1e-5,
        channelwise_affine: bool = True,
        momentum: float = 0.99,
        inference: bool = False,
        dtype: DType = None,
        mode: Literal["batch", "ema", "legacy"] = "legacy",
        *,
        init_variance: float | None = None,
    ):
        self.mode = mode = _checked_mode(mode)
        _check_axis_name(axis_name)
        self.input_size = n = validate_size("BatchNorm", "input_size", input_size)
        dtype = default_dtype() if dtype is None else dtype
        self.weight = constant((n,), 1, dtype) if channelwise_affine else None
        self.bias = constant((n,), 0, dtype) if channelwise_affine else None
        start = (1 if mode == "batch" else 0) if init_variance is None else init_variance
        averages = StateIndex((constant((n,), 0, dtype), constant((n,), start, dtype)))
        if mode == "ema":
            self.ema_first_time_index = StateIndex(jnp.array(True))
            self.ema_state_index = averages
            self.batch_counter = self.batch_state_index = None
        else:
            self.ema_first_time_index = self.ema_state_index = None
            self.batch_counter = StateIndex(jnp.asarray(0))
            self.batch_state_index = averages
        self.axis_name = axis_name
        self.inference = inference
        self.eps = eps
        self.channelwise_affine = channelwise_affine
        self.momentum = momentum
        self.init_variance = init_variance

    def __call__(
        self,
        x: Array,
        state: State,
        *,
        key: PRNGKeyArray | None = None,
        inference: bool | None = None,
    ) -> tuple[Array, State]:
        """Normalises one example of a batch.

        **Arguments:**

        - `x`: of shape `(input_size, dim_1, ..., dim_N)`, of any dtype.
        - `state`: a `State` from `make_with_state`.
        - `key`: ignored; layers take a key so that all can be called alike.
        - `inference`: overrides the field of that name.

        **Returns:** the pair of an array of the shape and dtype of `x`, and the new state.

        **Raises:** `ShapeError` for an `x` with other channels; `NameError` in training outside of
        a `jax.vmap` with the axis name; `ValueError` in two of them with the same one; `TypeError`
        if `state` is none.
        """
        check_state(self, state)
        received = shape_of(self, x)
        if received[:1] != (self.input_size,):
            fix = "Channels come first, and the batch is the axis of a `jax.vmap`."
            refuse_shape(self, (f"input_size={self.input_size}", "..."), received, fix)
        x = jnp.asarray(x)
        wide = at_least_float32(x)
        training = not (self.inference if inference is None else inference)
        step = self._ema_step if self.mode == "ema" else self._batch_step
        mean, variance, state = step(wide, state, training)
        y = apply_promoted(jnp.subtract, wide, per_channel(mean, x.ndim))
        y = apply_promoted(jnp.divide, y, per_channel(jnp.sqrt(variance + self.eps), x.ndim))
        return scale_and_shift(y, self.weight, self.bias, channels=True).astype(x.dtype), state

    def _ema_step(self, x: Array, state: State, training: bool) -> tuple[Array, Array, State]:
        """Mean and variance to normalise by, and the new state, with `mode="ema"`."""
        first_index, index = self.ema_first_time_index, self.ema_state_index
        assert first_index is not None and index is not None
        running = state.get(index)
        if not training:
            return at_least_float32(running[0]), at_least_float32(running[1]), state
        current = self._statistics(x)
        first = state.get(first_index)
        mean, variance = (
            jnp.where(first, now, self._average(past, now))
            for past, now in zip(running, current, strict=True)
        )
        state = state.set(first_index, jnp.array(False))
        state = state.set(index, _cast_like((mean, variance), running))
        return mean, variance, state

    def _batch_step(self, x: Array, state: State, training: bool) -> tuple[Array, Array, State]:
        """Mean and variance to normalise by, and the new state, with `mode="batch"`."""
        counter, index = self.batch_counter, self.batch_state_index
        assert counter is not None and index is not None
        running = state.get(index)
        steps = state.get(counter)
        if not training:
            mean, variance = at_least_float32(running[0]), at_least_float32(running[1])
            past = jnp.asarray(self.momentum, mean.dtype) ** steps.astype(mean.dtype)
            known = jnp.where(steps == 0, jnp.ones_like(past), 1 - past)
            if self.init_variance is not None:
                left = jnp.where(steps == 0, jnp.zeros_like(past), past)
                variance = jnp.maximum(0.0, variance - left * self.init_variance)
            return mean / known, variance / known, state
        mean, variance = self._statistics(x)
        new = (self._average(running[0], mean), self._average(running[1], variance))
        state = state.set(counter, steps + 1)
        state = state.set(index, _cast_like(new, running))
        return mean, variance, state

    def _statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of the batch, of each channel."""
        axes = tuple(range(1, x.ndim))
        axis_name: Any = self.axis_name
        if isinstance(axis_name, list):
            axis_name = tuple(axis_name)
        try:
            mean = _batch_mean(jnp.mean(x, axes), axis_name)
        except NameError as error:
            raise NameError(
                f"`BatchNorm(axis_name={axis_name!r})` was called outside of a `jax.vmap` with "
                f"that name. In training, call it as `jax.vmap(model, axis_name={axis_name!r}, "
                f"in_axes=(0, None), out_axes=(0, None))(x, state)`; in inference, use "
                f"`inference_mode(model)`, which needs no batch."
            ) from error
        if mapped_name(mean) in (axis_name if isinstance(axis_name, tuple) else (axis_name,)):
            raise ValueError(
                f"`BatchNorm(axis_name={axis_name!r})` was called in a `jax.vmap` within another "
                f"of the same `axis_name`: the statistics would be those of the inner one alone. "
                f"Give them different names, and `BatchNorm` a tuple of both to average over both."
            )
        square = jnp.square(x - per_channel(mean, x.ndim))
        variance = jnp.maximum(0.0, _batch_mean(jnp.mean(square, axes), axis_name))
        return mean, variance

    def _average(self, past: Array, now: Array) -> Array:
        """One step of a running average."""
        return (1 - self.momentum) * now + self.momentum * past.astype(now.dtype)


def _checked_mode(mode: str) -> Literal["batch", "ema"]:
    """The mode. Without one, as in code for Equinox, it is "ema", and a warning."""
    if mode == "legacy":
        warn_user(_UNSPECIFIED)
        return "ema"
    if mode not in ("batch", "ema"):
        raise ValueError(f"`BatchNorm`: `mode` must be 'batch' or 'ema', got {mode!r}.")
    return mode


def _check_axis_name(axis_name: Any) -> None:
    """Refuses several names of which two are equal: `jax.lax.pmean` would count an axis twice."""
    if isinstance(axis_name, (tuple, list)) and len(set(axis_name)) != len(axis_name):
        raise ValueError(f"`BatchNorm`: `axis_name` names an axis twice: {axis_name!r}.")


def _batch_mean(x: Array, axis_name: Any) -> Array:
    """The mean over the axes of a `jax.vmap` of these names."""
    # On explicit axes JAX (0.7.2 to 0.12) takes the sharding of the batch for that of the sum.
    return on_automatic_axes(lambda x: lax.pmean(x, axis_name), x)


def _cast_like(new: tuple[Array, Array], old: tuple[Array, Array]) -> Any:
    """The new averages in the dtypes of the old ones: a state never changes its dtypes."""
    return tuple(n.astype(o.dtype) for n, o in zip(new, old, strict=True))
