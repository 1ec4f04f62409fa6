"""A recurrence whose state enters through one matrix product, with a derivative by one product."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

Combine = Callable[[Any, Any, Any], Any]
Read = Callable[[Any], Array]


def _scan(step: Any, start: Any, xs: Any, reverse: bool, unroll: Any) -> Any:
    return jax.lax.scan(step, start, xs, reverse=reverse, unroll=unroll)[1]


# JAX 0.7 fails to transpose the loop of the rule below (`_scan_transpose` asserts), 0.10 does it.
# In between nothing is known, so there too the loop is differentiated as any other.
OWN_RULE = jax.__version_info__ >= (0, 10)


def recurrence(
    combine: Combine,
    read: Read,
    adds: bool,
    reverse: bool,
    unroll: int | bool,
    weight: Array,
    projected: Any,
    extra: Any,
    start: Any,
) -> Any:
    r"""All states, stacked, of a recurrence with a step of the form
    $s_t = \text{combine}((p_t, W \, \text{read}(s_{t-1})), s_{t-1}, e_t)$.

    With `adds`, of the form $s_t = \text{combine}(p_t + W \, \text{read}(s_{t-1}), s_{t-1}, e_t)$.
    `combine` and `read` are functions of their arguments alone: no parameter may be in them. $e$,
    `extra`, is not differentiated.
    """
    run = _with_own_rule if OWN_RULE else _states
    return run(combine, read, adds, reverse, unroll, weight, projected, extra, start)


def _enter(adds: bool, p: Any, product: Array) -> Any:
    return p + product if adds else (p, product)


def _states(
    combine: Combine,
    read: Read,
    adds: bool,
    reverse: bool,
    unroll: int | bool,
    weight: Array,
    projected: Any,
    extra: Any,
    start: Any,
) -> Any:
    def step(state: Any, slices: Any) -> Any:
        p, e = slices
        new = combine(_enter(adds, p, weight @ read(state)), state, e)
        return new, new

    return _scan(step, start, (projected, extra), reverse, unroll)


# Plain reverse-mode differentiation of the loop would add an outer product to the gradient of
# `weight` in each step: more memory traffic than all else together. The tangents that `weight`
# causes are one matrix product for all steps, which transposes to one.
_with_own_rule: Any = jax.custom_jvp(_states, nondiff_argnums=(0, 1, 2, 3, 4))


@_with_own_rule.defjvp
def _recurrence_jvp(
    combine: Combine,
    read: Read,
    adds: bool,
    reverse: bool,
    unroll: Any,
    primals: Any,
    tangents: Any,
) -> Any:
    weight, projected, extra, start = primals
    d_weight, d_projected, _, d_start = tangents

    def step(state: Any, slices: Any) -> Any:
        p, e = slices
        entering = _enter(adds, p, weight @ read(state))
        # What the derivative needs is kept: to compute it again takes longer.
        new, linear = jax.linearize(lambda x, s: combine(x, s, e), entering, state)
        return new, (new, linear)

    states, linears = _scan(step, start, (projected, extra), reverse, unroll)
    before = jtu.tree_map(functools.partial(_shifted, reverse), states, start)
    caused = jax.vmap(read)(before) @ d_weight.T

    def d_step(d_state: Any, slices: Any) -> Any:
        d_entering, linear = slices
        _, d_read = jax.jvp(read, (d_state,), (d_state,))  # `read` picks, so it is linear
        d_product = weight @ d_read
        if adds:
            d_new = linear(d_entering + d_product, d_state)
        else:
            d_new = linear((d_entering[0], d_entering[1] + d_product), d_state)
        return d_new, d_new

    xs = (_enter(adds, d_projected, caused), linears)
    return states, _scan(d_step, d_start, xs, reverse, unroll)


def _shifted(reverse: bool, states: Array, start: Array) -> Array:
    """The state before each step."""
    if not len(states):
        return states
    parts = [states[1:], start[None]] if reverse else [start[None], states[:-1]]
    return jnp.concatenate(parts)
