"""Loops on `jax.lax.while_loop`, in which each example of a batch stops independently."""

from typing import Any

import jax
import jax.numpy as jnp

from .batching import any_of, any_of_kept, unless_alone
from .traced_loop import TracedLoop, select
from .write_marks import Arrays


def run_lax(
    loop: TracedLoop, max_steps: Any, consts: Arrays, carry: Arrays, buffers: Arrays
) -> tuple[Arrays, Arrays]:
    """The last carry and buffers of the loop.

    With a batched condition JAX would select between the whole old and new state. So the condition
    is whether any example continues, and a stopped example keeps its carry. Buffers are not
    selected: the writes of a stopped example are dropped.
    """
    limited = max_steps is not None

    def condition(state: Any) -> Any:
        pred, i, carry, buffers = state
        if loop.test_has_effects:
            return any_of(pred)
        anew = loop.test(consts, carry, buffers)
        return any_of_kept(pred, anew & (i < max_steps) if limited else anew)

    def advance(state: Any) -> Any:
        pred, i, carry, buffers = state
        running = unless_alone(pred)
        new, buffers, _ = loop.steps.first(consts, carry, buffers, [], running)
        carry = select(running, new, carry)
        pred = pred & loop.test(consts, carry, buffers)
        if limited:
            i = i + 1
            pred = pred & (i < max_steps)
        return pred, i, carry, buffers

    pred = loop.test(consts, carry, buffers)
    if limited:
        pred = pred & (max_steps > 0)
    i = jnp.zeros((), jnp.int32) if limited else None
    _, _, carry, buffers = jax.lax.while_loop(condition, advance, (pred, i, carry, buffers))
    return carry, buffers
