"""When a loop that is to be differentiated in reverse keeps its state.

With `s` places for states, of which the first holds the state at the start, `C(s + r, s)` steps can
be reversed so that none is run forward more than `r` times, not counting the run in which it is
differentiated; no more (Griewank and Walther 2000). Of a loop of unknown length, the
positions that are kept while it runs are such that `r` is as small as it can be for the length
that it turns out to have (Wang, Moin and Iaccarino 2009; Stumm and Walther 2010).
"""

from typing import Any

import jax
import jax.numpy as jnp

_MANY = 2.0**30


def reach(places: int, runs: int) -> int:
    """How many steps can be reversed in so many places if none is to run more than `runs` times."""
    found = 1
    for j in range(1, runs + 1):
        found = found * (places + j) // j
    return found


def default_checkpoints(max_steps: int) -> int:
    """As many as it takes that no step is run more than twice: about `sqrt(2 max_steps)`."""
    places = 1
    while reach(places, 2) < max_steps:
        places += 1
    return places + 1  # the state that is worked on is one


def ahead(places: Any, runs: Any) -> Any:
    """`reach(places, runs - 1)`: how far to the next position to keep, while the end is unknown."""

    def times(j: Any, found: Any) -> Any:
        j = j.astype(jnp.float32)
        return jnp.minimum(found * (places_ + j) / j, _MANY)

    places_ = places.astype(jnp.float32)

    far = jax.lax.fori_loop(1, runs, times, jnp.float32(1))
    return jnp.round(far).astype(jnp.int32)


def apart(places: Any, length: Any) -> Any:
    """How far to the next position to keep, of a range of known length with so many places.

    The steps before it are to be reversed with all places and one run less, those after with one
    place less: `reach(s, r) == reach(s, r - 1) + reach(s - 1, r)`.
    """
    s, length_ = places.astype(jnp.float32), length.astype(jnp.float32)
    more = jnp.where(places > 1, length_, 0.0)  # with one place there is nothing to decide

    def condition(state: Any) -> Any:
        _, _, found = state
        return found < more

    def another(state: Any) -> Any:
        r, _, found = state
        return r + 1, found, found * (s + r + 1) / (r + 1)

    start = (jnp.float32(2), s + 1, (s + 1) * (s + 2) / 2)  # r, reach(s, r - 1), reach(s, r)
    r, below, _ = jax.lax.while_loop(condition, another, start)
    right = below * s / (s + r - 1)  # reach(s - 1, r - 1)
    found = jnp.minimum(below, length_ - right)
    found = jnp.clip(jnp.round(found).astype(jnp.int32), 1, jnp.maximum(length - 1, 1))
    return jnp.where(length <= places + 1, 1, found)
