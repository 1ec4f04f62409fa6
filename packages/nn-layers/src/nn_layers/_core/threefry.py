"""JAX's default generator of random bits, threefry, computed by NumPy: nothing is compiled for it.

It is integer arithmetic, so that NumPy and XLA give the same bits. NumPy takes three times as long.

**Source:** J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
Threefry-2x32 with 20 rounds. What is encrypted is the place of a number in the flat array, as JAX
does with `jax_threefry_partitionable=True`, its default.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_ROTATIONS = tuple(
    tuple((np.uint32(left), np.uint32(32 - left)) for left in lefts)
    for lefts in ((13, 15, 26, 6), (17, 29, 16, 24))
)
_PARITY = np.uint32(0x1BD11BDA)
_STEPS = tuple(np.uint32(step + 1) for step in range(5))
_BLOCK = 2**16
_FIRST = np.arange(_BLOCK, dtype=np.uint32)


def random_words(keys: Words, counts: Sequence[int], length: int) -> Words:
    """Two words for each number, of shape (2, `length`): from each key, of shape (2,), so many.

    What is beyond the sum of the counts is zero.
    """
    words = np.zeros((2, length), np.uint32)
    total = sum(counts)
    if total <= _BLOCK:  # all at once: a call of NumPy costs more than what it does here
        words[1, :total] = np.concatenate([_FIRST[:count] for count in counts])
        _encrypt(np.repeat(keys, counts, axis=0).T, words[:, :total])
        return words
    start = 0
    for key, count in zip(keys, counts, strict=True):
        for first in range(0, count, _BLOCK):
            block = words[:, start + first : start + min(first + _BLOCK, count)]
            # A counter has 64 bits, of which an array of less than 2**32 needs the lower half.
            block[1] = _FIRST[: block.shape[1]]
            block[1] += np.uint32(first)
            _encrypt(key, block)
        start += count
    return words


def split(key: Words, count: int) -> Words:
    """The data, of shape (`count`, 2), of the keys of `jax.random.split(key, count)`."""
    return np.ascontiguousarray(random_words(key[None], (count,), count).T)


def _encrypt(keys: Words, counters: Words) -> None:
    """Encrypts counters, of shape (2, n), in place; by one key, or by n in an array (2, n)."""
    high, low = counters  # `high` holds zeros
    first, second = keys
    schedule = (first, second, first ^ second ^ _PARITY)
    rest = np.empty_like(low)
    high += first
    low += second
    for step in range(5):
        for left, right in _ROTATIONS[step % 2]:
            high += low
            np.left_shift(low, left, out=rest)
            low >>= right
            low |= rest
            low ^= high
        high += schedule[(step + 1) % 3]
        low += schedule[(step + 2) % 3]
        low += _STEPS[step]
