"""How the parameters of a layer are drawn: uniform, with a bound that depends on the fan-in."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

from tree_surgery.extend import public

from . import shared_draws, threefry
from .key_arguments import check_key


def default_dtype() -> Any:
    """The dtype of parameters if none is asked for: float32, or float64 under `jax_enable_x64`."""
    return jax.dtypes.canonicalize_dtype(float)


def constant(shape: tuple[int, ...], value: float, dtype: Any) -> Array:
    """As `jax.numpy.full`, for parameters: no program is compiled for each shape."""
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        return jnp.full(shape, value, dtype)  # it warns of what is not available
    return jax.device_put(np.full(shape, value, dtype))


def uniform_bound(fan_in: int) -> float:
    r"""$1/\sqrt{\text{fan-in}}$; 1 if nothing comes in."""
    return 1.0 if fan_in == 0 else 1 / math.sqrt(fan_in)


def _draw(
    key: PRNGKeyArray, bound: float, shapes: tuple[tuple[int, ...] | None, ...], dtype: Any
) -> list[Array | None]:
    """An array or `None` for each shape, from one key each."""
    there = [i for i, shape in enumerate(shapes) if shape is not None]
    given = [shape for shape in shapes if shape is not None]

    def by_numpy(words: threefry.Words) -> list[Array]:
        keys = threefry.split(words, len(shapes))[there]
        return shared_draws.draw_each(jr.uniform, keys, given, dtype, -bound, bound)

    def by_jax(key: PRNGKeyArray) -> list[Any]:
        drawn = [_assemble(parts) for parts in _draw_all(key, bound, shapes, dtype)]
        return [drawn[i] for i in there]

    way = by_numpy if shared_draws.is_seldom(shapes, dtype) else None
    found: list[Array | None] = [None] * len(shapes)
    for i, array in zip(there, shared_draws.by_words(key, way, by_jax), strict=True):
        found[i] = array
    return found


# One compiled call draws all: a call of JAX costs more than drawing the numbers of a small layer.
# It returns the very numbers that `jax.random.uniform` returns: nothing is computed from them here,
# since the compiler would then be free to round otherwise.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _draw_all(
    key: PRNGKeyArray, bound: Any, shapes: tuple[tuple[int, ...] | None, ...], dtype: Any
) -> list[list[Array]]:
    """For each shape what `_parts` draws."""
    keys = jr.split(key, len(shapes))
    return [
        [] if shape is None else _draw_parts(own_key, bound, shape, dtype)
        for own_key, shape in zip(keys, shapes, strict=True)
    ]


def _draw_parts(key: PRNGKeyArray, bound: Any, shape: tuple[int, ...], dtype: Any) -> list[Array]:
    """The one array, or for a complex dtype real and imaginary part."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return [jr.uniform(key, shape, dtype, -bound, bound)]
    real = jnp.finfo(dtype).dtype
    both = jr.split(key, 2)
    return [jr.uniform(k, shape, real, -bound, bound) for k in (both[0], both[1])]


def _assemble(parts: list[Array]) -> Array | None:
    """Join the parts from `_draw_parts` to one array; `None` if there are none."""
    if len(parts) == 2:
        return jax.lax.complex(parts[0], parts[1])
    return parts[0] if parts else None


def separate_keys(layer: str, key: PRNGKeyArray, count: int) -> list[PRNGKeyArray]:
    """The keys of `jax.random.split(key, count)`, one by one.

    **Raises:** `TypeError` naming the layer if `key` is not a key.
    """
    try:
        return shared_draws.split(key, count)
    except (TypeError, ValueError):  # to look first would cost time each time
        check_key(layer, key)
        raise


def draw_uniform(
    layer: str,
    key: PRNGKeyArray,
    fan_in: int,
    shapes: tuple[tuple[int, ...] | None, ...],
    dtype: Any,
) -> list[Any]:
    r"""Arrays uniform on $[-1/\sqrt{\text{fan-in}}, 1/\sqrt{\text{fan-in}})$.

    **Arguments:**

    - `layer`: the name of the layer, for errors.
    - `key`: split into one for each shape, in order.
    - `fan_in`: how many inputs each output depends on.
    - `shapes`: of the arrays; `None` for none, which uses its key up all the same.
    - `dtype`: of all; `None` for JAX's default floating-point dtype.

    **Returns:** an array or `None` for each shape.

    **Raises:** `TypeError` if `key` is not a key, `ValueError` if the dtype is not inexact.
    """
    dtype = default_dtype() if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(f"`{layer}`: `dtype` must be floating point or complex, got {dtype}.")
    try:
        return _draw(key, uniform_bound(fan_in), shapes, dtype)
    except (AttributeError, TypeError, ValueError):
        check_key(layer, key)
        raise


def draw_weight_and_bias(
    layer: str,
    key: PRNGKeyArray,
    fan_in: int,
    weight_shape: tuple[int, ...],
    bias_shape: tuple[int, ...] | None,
    dtype: Any,
) -> tuple[Any, Array | None]:
    """Weight and bias by `draw_uniform`: the first key for the weight, the second for the bias."""
    weight, bias = draw_uniform(layer, key, fan_in, (weight_shape, bias_shape), dtype)
    return weight, bias


@public("nn_layers.extend")
def default_init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike, lim: float) -> Array:
    """An array uniform on `[-lim, lim)`; for a complex dtype real and imaginary part are.

    **Arguments:**

    - `key`: what it is drawn from.
    - `shape`, `dtype`: of the array.
    - `lim`: `1 / sqrt(fan_in)` for the weights and biases of the layers here.

    ```python
    import jax
    import jax.numpy as jnp
    from nn_layers.extend import default_init

    weight = default_init(jax.random.key(0), (2, 4), jnp.float32, 0.5)
    assert weight.shape == (2, 4) and abs(weight).max() < 0.5
    ```
    """
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return shared_draws.draw(jr.uniform, key, shape, dtype, -lim, lim)
    drawn: Any = _assemble(_draw_parts(key, lim, shape, dtype))
    return drawn
