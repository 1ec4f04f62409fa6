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
    if not isinstance(x, jax.Array) or isinstance(x, Tracer):
        return False
    return not x.is_fully_addressable


def gathered(x: jax.Array) -> np.ndarray[Any, Any]:
    """The values of an array of which each process holds a part. All processes have to ask."""
    from jax.experimental import multihost_utils  # loaded where there are several processes

    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.is_fully_replicated:
        return np.asarray(x.addressable_data(0))
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def written_by_one(write: Callable[[Iterator[Any]], None], parts: list[Callable[[], Any]]) -> None:
    """Process 0 writes what all processes gather; all of them end together, whatever happens.

    Each of `parts` gathers one part, and `write` takes them in order. If it fails, process 0 goes
    on gathering, since the others do; and so does a process in which one part fails.

    **Raises:** in each process what went wrong there, else `SerialiseError` if it did in another.
    """
    failures: list[BaseException] = []

    def each() -> Iterator[Any]:
        for part in waiting:
            yield part()

    waiting = iter(parts)
    if jax.process_index() == 0:
        try:
            write(each())
        except BaseException as error:
            failures.append(error)
    for part in waiting:
        try:
            part()
        except BaseException as error:
            failures.append(error)
    agree(failures[0] if failures else None, "write it")


def agree(failure: BaseException | None, what: str) -> None:
    """Returns in all processes if nothing failed in any, and else raises in all.

    **Raises:** `failure`, in a process that has one; then `SerialiseError` in the others.
    """
    from jax.experimental import multihost_utils

    failed = multihost_utils.process_allgather(np.array(failure is not None))
    if failure is not None:
        raise failure
    if np.any(failed):
        numbers = ", ".join(map(str, np.flatnonzero(failed)))
        raise SerialiseError(
            f"The processes of this job save together, and process {numbers} could not {what}; it "
            f"says why."
        )
