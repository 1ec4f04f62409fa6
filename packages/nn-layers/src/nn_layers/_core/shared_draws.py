"""Random arrays of many shapes, drawn by a few programs.

XLA takes some 200 ms to compile the generator, for each array that a program draws: for a model in
a fresh process, more than all else together. With JAX's default generator (threefry, partitionable)
a number depends on the key and on its place in the flat array, and on nothing else. So the first
numbers of a long array are those of a short one, and an array is cut from one of a few lengths.

`tests/nn_layers/_core/test_shared_draws.py` holds both to be equal to the bit; seen on JAX 0.7.2,
0.10.2 and 0.12. This can go when XLA compiles the generator as fast as an addition.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from nn_layers._jax import Tracer

# A draw of any of these costs less than compiling another program; longer arrays have their own.
_LENGTHS = (2**10, 2**14, 2**16, 2**18, 2**20)
_SPLITS = (4, 16, 64)
# From so many draws on, a program for exactly these shapes is worth it: its calls are quicker.
_OFTEN = 100

Shape = tuple[int, ...]


def draw(
    sampler: Callable[..., Array], key: PRNGKeyArray, shape: Shape, dtype: Any, *numbers: Any
) -> Array:
    """`sampler(key, shape, dtype, *numbers)`, by `cut` if that is best."""
    draws = cut if may_cut(key, (shape,), dtype) else _drawn
    return draws(sampler, key, shape, dtype, *numbers)


def may_cut(key: PRNGKeyArray, shapes: Sequence[Shape | None], dtype: Any) -> bool:
    """Whether arrays of these shapes are best drawn by `cut`: the numbers are the same.

    They are not while JAX traces, and with another generator; and from devices other than the CPU,
    or in a mesh, cutting would copy.
    """
    return next(_draws_of(tuple(shapes), dtype)) < _OFTEN and is_default(key)


def split(key: PRNGKeyArray, count: int) -> list[PRNGKeyArray]:
    """The keys of `jax.random.split(key, count)`, the first of a split into more."""
    number = next((n for n in _SPLITS if count <= n), None)
    if number is None or not is_default(key):
        return list(jr.split(key, count))
    return _split(key, number)[:count]


@functools.partial(jax.jit, static_argnums=1)
def _split(key: PRNGKeyArray, count: int) -> list[PRNGKeyArray]:
    return list(jr.split(key, count))  # within a program: to take one from an array is another


def cut(
    sampler: Callable[..., Array], key: PRNGKeyArray, shape: Shape, dtype: Any, *numbers: Any
) -> Array:
    """`sampler(key, shape, dtype, *numbers)`, of a sampler in which each number stands alone."""
    size = math.prod(shape)
    length = next((n for n in _LENGTHS if size <= n), None)
    if length is None:
        return _drawn(sampler, key, shape, dtype, *numbers)
    flat = _drawn(sampler, key, (length,), dtype, *numbers)
    if isinstance(flat, Tracer):  # the key is none, and yet JAX traces
        return flat[:size].reshape(shape)
    return jax.device_put(np.array(np.asarray(flat)[:size].reshape(shape)))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _drawn(
    sampler: Callable[..., Array], key: PRNGKeyArray, shape: Shape, dtype: Any, *numbers: Any
) -> Array:
    return sampler(key, shape, dtype, *numbers)


@functools.lru_cache(maxsize=1024)
def _draws_of(shapes: tuple[Shape | None, ...], dtype: Any) -> Iterator[int]:
    """Counts how often these shapes were drawn."""
    return itertools.count()


def is_default(key: Any) -> bool:
    """Whether it is one key on the CPU, in no trace and no mesh, of the generator described above.

    What is no key is none of these; who splits it or draws from it gets the error.
    """
    if not is_plain(key):
        return False
    is_typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return (
        (key.shape == () if is_typed else (key.shape, key.dtype) == ((2,), jnp.uint32))
        and jr.key_impl(key) == "threefry2x32"
        and bool(jax.config.jax_threefry_partitionable)  # pyright: ignore[reportAttributeAccessIssue]  (set by JAX)
        and jax.sharding.get_abstract_mesh().empty
    )


def is_plain(x: Any) -> bool:
    """Whether it is an array with values, on the CPU and put nowhere by the user."""
    return (
        isinstance(x, jax.Array)
        and not isinstance(x, Tracer)
        and not x.committed
        and all(device.platform == "cpu" for device in x.devices())
    )
