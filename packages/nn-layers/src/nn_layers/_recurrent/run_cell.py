"""How an `RNN` runs its cell: by calls, or by the parts that a cell says it consists of."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import Array

from filtered_transforms import filter_jit, is_array, partition
from nn_layers._core.layer_protocol import takes_key
from nn_layers._core.shape_errors import ShapeError, refuse_shape, shape_of
from nn_layers._jax import varying_as
from pytree_module import Module, field

from .recurrence import Recurrence, run_recurrence


def check_inputs(layer: Any, cell: Any, inputs: Array, mask: Any) -> None:
    """Refuses a sequence or a mask of another shape, naming `layer`."""
    received = shape_of(layer, inputs)
    width = getattr(cell, "input_size", None)
    if width is not None and (len(received) != 2 or received[1] != width):
        refuse_shape(layer, ("length", f"input_size={width}"), received)
    if not received:
        refuse_shape(layer, ("length", "..."), received)
    if mask is not None:
        if shape_of(layer, mask) != received[:1]:
            raise ShapeError(
                f"`{type(layer).__name__}`: `mask` must be of shape (length,) = {received[:1]}, "
                f"but is of shape {mask.shape}.",
                layer,
                received[:1],
                mask.shape,
            )
        if mask.dtype != bool:
            raise TypeError(
                f"`{type(layer).__name__}`: `mask` must be of booleans, but is of {mask.dtype}."
            )


def cell_output(cell: Any, hidden: Any) -> Any:
    """What a cell puts out in this hidden state."""
    if hasattr(cell, "output"):
        return cell.output(hidden)
    return hidden[0] if isinstance(hidden, (tuple, list)) else hidden


# Compiled, so that a call outside of `jax.jit` finds its program again.
@filter_jit
def run_cell(rnn: Any, inputs: Array, initial: Any, mask: Any, key: Any) -> Any:
    """The outputs of all steps, and the final state, of an `RNN`."""
    initial = varying_as(jtu.tree_map(jnp.asarray, initial), inputs, rnn, mask)
    if mask is not None:
        # What is padded may be anything, also NaN, and must not get into a gradient.
        shown = mask.reshape((-1,) + (1,) * (inputs.ndim - 1))
        inputs = jnp.where(shown, inputs, jnp.zeros_like(inputs))
    run = _states_by_parts if hasattr(rnn.cell, "project") else _states_by_calls
    states = run(rnn, inputs, initial, mask, key)
    last = 0 if rnn.reverse else -1
    final = jtu.tree_map(lambda s: s[last], states) if inputs.shape[0] else initial
    outputs = jax.vmap(lambda state: cell_output(rnn.cell, state))(states)
    if mask is not None:
        outputs = jtu.tree_map(
            lambda y: jnp.where(mask.reshape((-1,) + (1,) * (y.ndim - 1)), y, jnp.zeros_like(y)),
            outputs,
        )
    return outputs, final


def _states_by_calls(rnn: Any, inputs: Array, initial: Any, mask: Any, key: Any) -> Any:
    """All states of a cell that is only known as a function."""
    cell = rnn.cell
    with_key = takes_key(cell)
    keys = jr.split(key, inputs.shape[0]) if with_key and key is not None else None

    def step(state: Any, slices: Any) -> Any:
        x, m, key = slices
        new = cell(x, state, key=key) if with_key else cell(x, state)
        if m is not None:
            new = jtu.tree_map(lambda n, s: jnp.where(m, n, s), new, state)
        return new, new

    xs = (inputs, mask, keys)
    return jax.lax.scan(step, initial, xs, reverse=rnn.reverse, unroll=rnn.unroll)[1]


def _states_by_parts(rnn: Any, inputs: Array, initial: Any, mask: Any, key: Any) -> Any:
    """All states of a cell with `project`, `read` and `combine`: see `RNN`."""
    cell = rnn.cell
    without_parameters = partition(cell, is_array)[1]
    adds = bool(getattr(cell, "adds", False))
    if mask is not None:
        # A number, since it goes where there are derivatives.
        mask = mask.astype(jtu.tree_leaves(initial)[0].dtype)
    recurrence = Recurrence(
        _MaskedCombine(without_parameters.combine, adds),
        without_parameters.read,
        adds,
        rnn.reverse,
        rnn.unroll,
    )
    return run_recurrence(recurrence, cell.recurrent_weight, cell.project(inputs), mask, initial)


class _MaskedCombine(Module):
    """`combine` of a cell, for a `Recurrence`; where the mask is 0 the state stays."""

    combine: Any
    adds: bool = field(static=True)

    def __call__(self, entering: Any, hidden: Any, mask: Any) -> Any:
        new = self.combine(entering, hidden) if self.adds else self.combine(*entering, hidden)
        if mask is None:
            return new
        return jtu.tree_map(lambda n, h: jnp.where(mask != 0, n, h), new, hidden)
