"""Random arrays of many shapes, drawn by a few small programs.

XLA takes some 200 ms to compile JAX's default generator, for each array that a program draws: for a
model in a fresh process, more than all else together. So NumPy draws the bits (`threefry.py`), and
one of a few programs makes floating-point numbers of them.

`tests/nn_layers/_core/test_shared_draws.py` holds them to be equal to the bit; seen on JAX 0.7.2,
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
from jax.custom_batching import custom_vmap
from jaxtyping import Array, PRNGKeyArray

from nn_layers._jax import Tracer, given_numbers, is_batch_of_values

from . import threefry
from .threefry import Words

# How many numbers a program makes. Weights are often a power of two; the bias is to fit in, too.
_LENGTHS = (5 * 2**10, 5 * 2**14, 5 * 2**18)
# From so many draws of the same shapes on, or from so many numbers, a program for exactly these
# shapes is worth it: its calls are quicker.
_OFTEN = 100
_MUCH = 2**22
# For more keys at once, one program that draws for all of them is quicker than a call for each.
_MANY_KEYS = 64

Shape = tuple[int, ...]
# It draws each number of an array of these (key, shape, dtype, *numbers) from one random number.
Sampler = Callable[..., Array]


def draw(sampler: Sampler, key: PRNGKeyArray, shape: Shape, dtype: Any, *numbers: Any) -> Array:
    """`sampler(key, shape, dtype, *numbers)`."""

    def by_jax(key: PRNGKeyArray) -> list[Array]:
        return [_drawn(sampler, key, shape, dtype, *numbers)]

    def by_numpy(words: Words) -> list[Array]:
        return draw_each(sampler, words[None], (shape,), dtype, *numbers)

    way = by_numpy if is_seldom((shape,), dtype) else None
    return by_words(key, way, by_jax)[0]


def is_seldom(shapes: Sequence[Shape | None], dtype: Any) -> bool:
    """Whether arrays of these shapes are best drawn by `draw_each`. It counts how often it asks."""
    seldom = next(_draws_of(tuple(shapes), dtype)) < _most_draws(tuple(shapes))
    return seldom and not jnp.issubdtype(dtype, jnp.complexfloating)


def split(key: Any, count: int) -> list[PRNGKeyArray]:
    """The keys of `jax.random.split(key, count)`."""
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return by_words(
            key,
            lambda words: [jax.device_put(own) for own in threefry.split(words, count)],
            lambda key: list(jr.split(key, count)),
        )
    data = by_words(
        key,
        lambda words: list(threefry.split(words, count)),
        lambda key: list(jr.key_data(jr.split(key, count))),
    )
    return [jr.wrap_key_data(own, impl=jr.key_impl(key)) for own in data]


def by_words(
    key: Any,
    by_numpy: Callable[[Words], list[Any]] | None,
    by_jax: Callable[[PRNGKeyArray], list[Any]],
) -> list[Any]:
    """`by_numpy` of the words of a key, or of each key of a batch; by JAX where that may not be.

    Both give the same arrays. For a batch that is no part of a program, as in a call of `jax.vmap`
    that makes several models, JAX compiles more than for one.
    """
    words = None if by_numpy is None else words_of(key)
    if by_numpy is not None and words is not None:
        return by_numpy(words)
    if by_numpy is None or not is_batch_of_values(key):
        return by_jax(key)
    each = custom_vmap(by_jax)

    @each.def_vmap
    def of_all(_: int, __: Any, keys: PRNGKeyArray) -> tuple[list[Any], list[bool]]:
        words = words_of(keys, ndim=1)
        if words is None or not 0 < len(words) <= _MANY_KEYS:
            made = jax.vmap(by_jax)(keys)
        else:
            columns = zip(*map(by_numpy, words), strict=True)
            made = [jax.device_put(np.stack(column)) for column in columns]
        return made, [True] * len(made)

    return each(key)


def draw_each(
    sampler: Sampler, keys: Words, shapes: Sequence[Shape], dtype: Any, *numbers: Any
) -> list[Array]:
    """`sampler(key, shape, dtype, *numbers)` of each shape and its key, of shape (shapes, 2)."""
    sizes = [math.prod(shape) for shape in shapes]
    total = sum(sizes)
    length = next((length for length in _LENGTHS if total <= length), None)
    if length is None and len(shapes) == 1:
        return [_drawn(sampler, _key(keys[0]), shapes[0], dtype, *numbers)]
    if length is None:
        return [
            draw_each(sampler, keys[i : i + 1], shapes[i : i + 1], dtype, *numbers)[0]
            for i in range(len(shapes))
        ]
    words = threefry.random_words(keys, sizes, length)
    flat = np.asarray(_from_words(sampler, words, dtype, *numbers))
    ends = list(itertools.accumulate(sizes))
    return [
        jax.device_put(np.array(flat[end - size : end].reshape(shape)))
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]


@functools.partial(jax.jit, static_argnums=(0, 2))
def _from_words(sampler: Sampler, words: Any, dtype: Any, *numbers: Any) -> Array:
    length = words.shape[1]
    return sampler(jr.wrap_key_data(words, impl=given_numbers(length)), (length,), dtype, *numbers)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _drawn(sampler: Sampler, key: PRNGKeyArray, shape: Shape, dtype: Any, *numbers: Any) -> Array:
    return sampler(key, shape, dtype, *numbers)


@functools.lru_cache(maxsize=1024)
def _draws_of(shapes: tuple[Shape | None, ...], dtype: Any) -> Iterator[int]:
    """Counts how often these shapes were drawn."""
    return itertools.count()


@functools.lru_cache(maxsize=1024)
def _most_draws(shapes: tuple[Shape | None, ...]) -> int:
    size = sum(math.prod(shape) for shape in shapes if shape is not None)
    return min(_OFTEN, _MUCH // max(size, 1))


def _key(words: Any) -> PRNGKeyArray:
    return jr.wrap_key_data(words, impl="threefry2x32")


def words_of(key: Any, ndim: int = 0) -> Words | None:
    """The two words of a key, or of each of an array of keys, where NumPy can draw as JAX does.

    They are keys of threefry, partitionable, on the CPU, in no trace and no mesh; else `None`.
    What is no key is none of these; who splits it or draws from it gets the error.
    """
    if not is_plain(key):
        return None
    is_typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not (
        (key.ndim == ndim if is_typed else key.shape[ndim:] == (2,) and key.dtype == jnp.uint32)
        and jr.key_impl(key) == "threefry2x32"
        and bool(jax.config.jax_threefry_partitionable)  # pyright: ignore[reportAttributeAccessIssue]  (set by JAX)
        and jax.sharding.get_abstract_mesh().empty
    ):
        return None
    words = jr.key_data(key if is_typed else _key(key))
    return None if isinstance(words, Tracer) else np.asarray(words)  # a tracer: JAX traces


def is_plain(x: Any) -> bool:
    """Whether it is an array with values, on the CPU and put nowhere by the user."""
    return (
        isinstance(x, jax.Array)
        and not isinstance(x, Tracer)
        and not x.committed
        and all(device.platform == "cpu" for device in x.devices())
    )
