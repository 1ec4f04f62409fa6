"""Arrays that lie in several processes of one job: gathered by all, and written by one.

Every process of a job of `jax.distributed` runs the same program, so all of them call `save`. Here
is decided which arrays are gathered, and how the processes come to know whether it went well.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._jax import Tracer


def is_shared(x: object) -> bool:
    """Whether other processes hold a part of an array, or a copy."""
    is_array = isinstance(x, jax.Array) and not isinstance(x, Tracer)
    return is_array and not x.is_fully_addressable


def gathered(x: jax.Array) -> np.ndarray[Any, Any]:
    """The values of an array of which each process holds a part. All processes have to ask."""
    from jax.experimental import multihost_utils  # loaded where there are several processes

    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.is_fully_replicated:
        return np.asarray(x.addressable_data(0))
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def written_by_one(write: Callable[[], None], parts: Iterator[Any]) -> None:
    """Process 0 writes what all processes gather; all of them end together, whatever happens.

    `parts` gathers one part after the other, and `write` takes them from there. If it fails,
    process 0 goes on gathering, since the others do.

    **Raises:** in process 0 what `write` raised; then `SerialiseError` in the others.
    """
    from jax.experimental import multihost_utils

    failure: BaseException | None = None
    if jax.process_index() == 0:
        try:
            write()
        except BaseException as error:
            failure = error
    for _ in parts:
        pass
    is_written = multihost_utils.broadcast_one_to_all(np.array(failure is None))
    if failure is not None:
        raise failure
    if not is_written:
        raise SerialiseError("Process 0, which writes the file for all, could not; it says why.")
