"""How the parameters of a layer are drawn."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray


def default_dtype() -> Any:
    """The dtype of parameters if none is asked for: float32, or float64 under `jax_enable_x64`."""
    return jax.dtypes.canonicalize_dtype(float)


def bound_for(fan_in: int) -> float:
    r"""$1/\sqrt{\text{fan-in}}$; 1 if nothing comes in."""
    return 1.0 if fan_in == 0 else 1 / math.sqrt(fan_in)


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any, bound: Any) -> Array:
    """Uniform on [-bound, bound); for a complex dtype, real and imaginary part each are."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return jr.uniform(key, shape, dtype, minval=-bound, maxval=bound)
    part = jnp.finfo(dtype).dtype
    real_key, imag_key = jr.split(key, 2)
    real = jr.uniform(real_key, shape, part, minval=-bound, maxval=bound)
    imag = jr.uniform(imag_key, shape, part, minval=-bound, maxval=bound)
    return jax.lax.complex(real, imag)


# One compiled call draws both: a call of JAX costs more than drawing the numbers of a small layer.
@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _draw_both(
    key: PRNGKeyArray,
    bound: Any,
    weight_shape: tuple[int, ...],
    bias_shape: tuple[int, ...] | None,
    dtype: Any,
) -> tuple[Array, Array | None]:
    weight_key, bias_key = jr.split(key, 2)
    weight = uniform(weight_key, weight_shape, dtype, bound)
    bias = None if bias_shape is None else uniform(bias_key, bias_shape, dtype, bound)
    return weight, bias


def draw_weight_and_bias(
    layer: str,
    key: PRNGKeyArray,
    fan_in: int,
    weight_shape: tuple[int, ...],
    bias_shape: tuple[int, ...] | None,
    dtype: Any,
) -> tuple[Array, Array | None]:
    r"""Weight and bias, both uniform on $[-1/\sqrt{\text{fan-in}}, 1/\sqrt{\text{fan-in}})$.

    **Arguments:**

    - `layer`: the name of the layer, for errors.
    - `key`: split in two: the first half for the weight, the second for the bias.
    - `fan_in`: how many inputs each output depends on.
    - `weight_shape`, `bias_shape`: the shapes; `None` for no bias.
    - `dtype`: of both; `None` for JAX's default floating-point dtype.

    **Raises:** `TypeError` if there is no key, `ValueError` if the dtype is not inexact.
    """
    if key is None:  # pyright: ignore[reportUnnecessaryComparison] (callers need not be typed)
        raise TypeError(
            f"`{layer}` draws its initial parameters at random: pass `key=jax.random.key(seed)`."
        )
    dtype = default_dtype() if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(f"`{layer}`: `dtype` must be floating point or complex, got {dtype}.")
    return _draw_both(key, bound_for(fan_in), weight_shape, bias_shape, dtype)
