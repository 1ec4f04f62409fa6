"""What `filter_jit` leaves behind: Python's memory over many calls and many dropped functions.

    python benchmarks/memory.py

Calls a jitted update of the model 100,000 times, then makes, calls and drops 1,000 jitted closures.
tracemalloc counts what Python holds before and after, the cyclic collector what it had to find.
Exits with 1 if either grows.
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from model import build

import filtered_transforms
import pytree_module

CALLS, CLOSURES = 100_000, 1_000
ALLOWED = 64 * 1024  # bytes: what tracemalloc itself and the interpreter's own caches move


def held(work: Callable[[], None]) -> tuple[int, int]:
    """The bytes that `work` leaves behind, and the objects that only the collector could free."""
    gc.collect()
    gc.disable()
    before = tracemalloc.get_traced_memory()[0]
    work()
    found = gc.collect()
    gc.enable()
    return tracemalloc.get_traced_memory()[0] - before, found


def calls() -> Callable[[], None]:
    model = build(pytree_module, blocks=1)
    update = filtered_transforms.filter_jit(lambda tree: jax.tree.map(lambda x: x, tree))
    update(model)

    def work() -> None:
        for _ in range(CALLS):
            update(model)

    return work


def closures() -> Callable[[], None]:
    def one(i: int) -> Any:
        return filtered_transforms.filter_jit(lambda x: x + i)(jnp.float32(1))

    def work() -> None:
        for i in range(CLOSURES):
            one(i)
        jax.clear_caches()  # JAX keeps the traces of functions that are gone; those are not ours

    work()
    return work


def main() -> int:
    tracemalloc.start()
    worst = 0
    for name, work in ((f"{CALLS:,} calls", calls()), (f"{CLOSURES:,} closures", closures())):
        grown, found = held(work)
        print(f"{name}: {grown:,} bytes more, {found:,} objects for the cyclic collector")
        worst = max(worst, grown)
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
