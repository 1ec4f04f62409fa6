"""A recurrence whose state enters through one matrix product, with a derivative by one product.

Reverse-mode differentiation of the plain loop adds an outer product to the gradient of the matrix
in each step, which takes more memory traffic than all else together. The rule below computes the
tangents that the matrix causes in all steps by one matrix product, which transposes to one.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

# JAX 0.7 fails to transpose the loop of the rule below (`_scan_transpose` asserts), 0.10 does it.
# In between nothing is known, so there too the loop is differentiated as any other.
OWN_RULE = jax.__version_info__ >= (0, 10)


@dataclass(frozen=True)
class Recurrence:
    r"""The step of a recurrence, and how its loop runs. No array is in it.

    The step is $s_t = \text{combine}((p_t, W \, \text{read}(s_{t-1})), s_{t-1}, e_t)$; with `adds`,
    $s_t = \text{combine}(p_t + W \, \text{read}(s_{t-1}), s_{t-1}, e_t)$.

    **Fields:**

    - `combine`: a function of what enters, the state and $e_t$, to the next state. It uses no
        parameter but its arguments.
    - `read`: a function of the state to the vector that $W$ is multiplied by. It only picks: it is
        linear, and it uses no parameter either.
    - `adds`: as above.
    - `reverse`, `unroll`: as for `jax.lax.scan`.
    """

    combine: Callable[[Any, Any, Any], Any]
    read: Callable[[Any], Array]
    adds: bool
    reverse: bool
    unroll: int | bool

    def scan(self, step: Callable[[Any, Any], Any], start: Any, xs: Any) -> Any:
        """What `step` returns beside the carry, of all steps."""
        return jax.lax.scan(step, start, xs, reverse=self.reverse, unroll=self.unroll)[1]

    def entering(self, p: Any, product: Array) -> Any:
        """The first argument of `combine`, from the projected input and the matrix product."""
        return p + product if self.adds else (p, product)


def run_recurrence(
    recurrence: Recurrence, weight: Array, projected: Any, extra: Any, start: Any
) -> Any:
    """The states after each step, stacked.

    **Arguments:**

    - `recurrence`: the step.
    - `weight`: the matrix $W$.
    - `projected`: $p$, of all steps.
    - `extra`: $e$, of all steps. It is not differentiated.
    - `start`: the state before the first step.
    """
    run = _states_with_own_rule if OWN_RULE else _states
    return run(recurrence, weight, projected, extra, start)


def _states(recurrence: Recurrence, weight: Array, projected: Any, extra: Any, start: Any) -> Any:
    """The states by a plain loop."""

    def step(state: Any, slices: Any) -> Any:
        p, e = slices
        entering = recurrence.entering(p, weight @ recurrence.read(state))
        new = recurrence.combine(entering, state, e)
        return new, new

    return recurrence.scan(step, start, (projected, extra))


_states_with_own_rule: Any = jax.custom_jvp(_states, nondiff_argnums=(0,))


@_states_with_own_rule.defjvp
def _states_jvp(recurrence: Recurrence, primals: Any, tangents: Any) -> Any:
    """The states and their tangents, by two loops: the second is linear, and JAX transposes it."""
    weight, projected, extra, start = primals
    d_weight, d_projected, _, d_start = tangents
    combine, read = recurrence.combine, recurrence.read

    def step(state: Any, slices: Any) -> Any:
        p, e = slices
        entering = recurrence.entering(p, weight @ read(state))
        # What the derivative needs is kept: to compute it again takes longer.
        new, linear = jax.linearize(lambda x, s: combine(x, s, e), entering, state)
        return new, (new, linear)

    states, linears = recurrence.scan(step, start, (projected, extra))
    before = jtu.tree_map(functools.partial(_before_each_step, recurrence.reverse), states, start)
    # The tangents of the product that the tangent of `weight` causes, for all steps at once.
    caused = jax.vmap(read)(before) @ d_weight.T

    def d_step(d_state: Any, slices: Any) -> Any:
        d_entering, linear = slices
        _, d_read = jax.jvp(read, (d_state,), (d_state,))  # `read` is linear
        d_product = weight @ d_read
        if recurrence.adds:
            d_new = linear(d_entering + d_product, d_state)
        else:
            d_new = linear((d_entering[0], d_entering[1] + d_product), d_state)
        return d_new, d_new

    xs = (recurrence.entering(d_projected, caused), linears)
    return states, recurrence.scan(d_step, d_start, xs)


def _before_each_step(reverse: bool, states: Array, start: Array) -> Array:
    """The state before each step, from those after each."""
    if not len(states):
        return states
    parts = [states[1:], start[None]] if reverse else [start[None], states[:-1]]
    return jnp.concatenate(parts)
