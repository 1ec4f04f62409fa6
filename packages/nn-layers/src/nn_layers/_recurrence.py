"""A recurrence whose state enters through one matrix product, with a derivative by one product."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

Combine = Callable[[Any, Array, Any], Any]
Read = Callable[[Any], Array]


def _scan(step: Any, start: Any, xs: Any, reverse: bool, unroll: Any) -> Any:
    return jax.lax.scan(step, start, xs, reverse=reverse, unroll=unroll)[1]


# JAX 0.7 fails to transpose the loop of the rule below (`_scan_transpose` asserts), 0.10 does it.
# In between nothing is known, so there too the loop is differentiated as any other.
OWN_RULE = jax.__version_info__ >= (0, 10)


def recurrence(
    combine: Combine,
    read: Read,
    reverse: bool,
    unroll: int | bool,
    weight: Array,
    projected: Any,
    start: Any,
) -> Any:
    r"""All states of $s_t = \text{combine}(p_t, W \, \text{read}(s_{t-1}), s_{t-1})$, stacked.

    `combine` and `read` are functions of their arguments alone: no parameter may be in them.
    """
    run = _with_own_rule if OWN_RULE else _states
    return run(combine, read, reverse, unroll, weight, projected, start)


def _states(
    combine: Combine,
    read: Read,
    reverse: bool,
    unroll: int | bool,
    weight: Array,
    projected: Any,
    start: Any,
) -> Any:
    def step(state: Any, p: Any) -> Any:
        new = combine(p, weight @ read(state), state)
        return new, new

    return _scan(step, start, projected, reverse, unroll)


# Plain reverse-mode differentiation of the loop would add an outer product to the gradient of
# `weight` in each step: more memory traffic than all else together. The tangents that `weight`
# causes are one matrix product for all steps, which transposes to one.
_with_own_rule: Any = jax.custom_jvp(_states, nondiff_argnums=(0, 1, 2, 3))


@_with_own_rule.defjvp
def _recurrence_jvp(
    combine: Combine, read: Read, reverse: bool, unroll: Any, primals: Any, tangents: Any
) -> Any:
    weight, projected, start = primals
    d_weight, d_projected, d_start = tangents

    def step(state: Any, p: Any) -> Any:
        # What the derivative needs is kept: to compute it again takes longer.
        new, linear = jax.linearize(combine, p, weight @ read(state), state)
        return new, (new, linear)

    states, linears = _scan(step, start, projected, reverse, unroll)
    before = jtu.tree_map(functools.partial(_shifted, reverse), states, start)
    caused = jax.vmap(read)(before) @ d_weight.T

    def d_step(d_state: Any, slices: Any) -> Any:
        d_p, d_product, linear = slices
        _, d_read = jax.jvp(read, (d_state,), (d_state,))  # `read` picks, so it is linear
        d_new = linear(d_p, weight @ d_read + d_product, d_state)
        return d_new, d_new

    return states, _scan(d_step, d_start, (d_projected, caused, linears), reverse, unroll)


def _shifted(reverse: bool, states: Array, start: Array) -> Array:
    """The state before each step."""
    parts = [states[1:], start[None]] if reverse else [start[None], states[:-1]]
    return jnp.concatenate(parts)
