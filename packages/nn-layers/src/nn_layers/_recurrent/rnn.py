"""Recurrent cells over sequences."""

from typing import Any, Generic, Literal, overload

import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
from jaxtyping import Array, PRNGKeyArray

from filtered_transforms import filter_jit, is_array, partition
from nn_layers._core.shape_errors import ShapeError, kind_of, refuse_shape, shape_of
from nn_layers._models.sequential import takes_key
from nn_layers._types import H2, Backward_co, Cell, Forward_co, H, Layer_co
from pytree_module import Module, field
from tree_surgery.extend import public

from .recurrence import recurrence


@public
class RNN(Module, Generic[Layer_co]):
    r"""Runs a recurrent cell over a sequence: $h_t = \text{cell}(x_t, h_{t-1})$.

    **Shapes:** the input is `(length, input_size)`; the output `(length, hidden_size)`, or
    `(hidden_size,)` for the last step alone. `hidden_size` stands for the shape of what the cell
    puts out.

    **A cell** is any callable with `cell(x, hidden, key=key)` (or without `key`) that returns the
    next hidden state, an array or a tree of arrays, such as `GRUCell` and `LSTMCell`. It may have

    - `initial_state()`, which returns the first hidden state. Without it, give `initial=`.
    - `output(hidden)`, what the cell puts out; without it that is the state, or, of a tuple, the
        first. (For an LSTM the state is a pair, and $h$ is put out.)

    A cell in which the state is multiplied by one matrix, and all else is element by element, runs
    faster if it says so: the products with the inputs are then computed for all steps at once, and
    so is the gradient of that matrix. It has

    - `project(inputs)`: what the inputs `(length, input_size)` contribute, with all parameters but
        the matrix: a tree of arrays with leading axis `length`;
    - `recurrent_weight`: the matrix $W$;
    - `read(hidden)`: the vector in the hidden state that $W$ is multiplied by;
    - `combine(projected, product, hidden)`: the next hidden state from one slice of what `project`
        returned, the product of $W$, and the hidden state. It uses no parameter of the cell. If the
        product is only ever added, a class attribute `adds = True` says so, which saves memory:
        then `project` returns one array, and it is `combine(projected + product, hidden)`.

    **Arguments:**

    - `cell`: the cell.
    - `reverse`: whether to run from the last element to the first. Outputs stand where their inputs
        do.
    - `unroll`: how many steps to put into one step of the loop, or `True` for all.
    - `return_sequences`: whether to return the outputs of all steps, or of the last one run.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import LSTMCell, RNN

        rnn = RNN(LSTMCell(2, 5, key=jax.random.key(0)))
        ys, (h, c) = rnn(jnp.ones((7, 2)), return_state=True)
        assert ys.shape == (7, 5) and jnp.allclose(ys[-1], h)

        # A batch of sequences of different lengths, padded at the end:
        batch, lengths = jnp.ones((3, 7, 2)), jnp.array([7, 4, 1])
        masks = jnp.arange(7)[None] < lengths[:, None]
        ys = jax.vmap(lambda xs, mask: rnn(xs, mask=mask))(batch, masks)
        assert jnp.all(ys[1, 4:] == 0)
        ```
    """

    cell: Layer_co
    reverse: bool = field(static=True)
    unroll: int | bool = field(static=True)
    return_sequences: bool = field(static=True)

    def __init__(
        self,
        cell: Layer_co,
        reverse: bool = False,
        unroll: int | bool = 1,
        return_sequences: bool = True,
    ):
        if isinstance(cell, type) or not callable(cell):
            raise TypeError(
                f"`RNN` takes a cell, such as `GRUCell(input_size, hidden_size, key=key)`, but "
                f"received {cell!r}."
            )
        self.cell = cell
        self.reverse = reverse
        self.unroll = unroll
        self.return_sequences = return_sequences

    @overload
    def __call__(
        self: "RNN[Cell[H]]",
        inputs: Array,
        initial: H | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: Literal[False] = False,
    ) -> Array: ...
    @overload
    def __call__(
        self: "RNN[Cell[H]]",
        inputs: Array,
        initial: H | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: Literal[True],
    ) -> tuple[Array, H]: ...
    @overload
    def __call__(
        self: "RNN[Cell[H]]",
        inputs: Array,
        initial: H | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: bool,
    ) -> Array | tuple[Array, H]: ...
    def __call__(
        self: "RNN[Any]",
        inputs: Array,
        initial: Any = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: bool = False,
    ) -> Any:
        """Runs over one sequence.

        **Arguments:**

        - `inputs`: of shape `(length, input_size)`.
        - `initial`: the first hidden state; by default what `cell.initial_state()` returns.
        - `mask`: booleans of shape `(length,)`, false where the sequence is padded. There the
            state stays as it is, whatever the input, and the output is 0.
        - `key`: split into one for each step, if the cell takes one.
        - `return_state`: whether to return the final hidden state, too.

        **Returns:** the outputs of all steps, or of the last; with `return_state`, the pair of that
        and the final hidden state.

        **Raises:** `ShapeError` for arrays of other shapes, `TypeError` if there is no initial
        state.
        """
        length = _check(self, self.cell, inputs, mask)
        if initial is None:
            if not hasattr(self.cell, "initial_state"):
                raise TypeError(
                    f"`RNN`: {type(self.cell).__name__} has no method `initial_state`, so give the "
                    f"first hidden state: `rnn(inputs, initial)`."
                )
            initial = self.cell.initial_state()
        elif hasattr(self.cell, "initial_state"):
            _check_initial(self, self.cell, initial)
        outputs, final = _run(self, inputs, initial, mask, key, length)
        out = outputs if self.return_sequences else _output(self.cell, final)
        return (out, final) if return_state else out


@public
class Bidirectional(Module, Generic[Forward_co, Backward_co]):
    r"""Runs one cell forwards and another backwards, and joins what they put out.

    $y_t = [\overrightarrow{h}_t, \overleftarrow{h}_t]$, where the second has seen the elements from
    the last down to $t$.

    **Shapes:** the input is `(length, input_size)`; the output `(length, 2 * hidden_size)`, or
    `(2 * hidden_size,)` for the last step of each.

    **Arguments:**

    - `forward`, `backward`: two cells, as for `RNN`.
    - `unroll`, `return_sequences`: as for `RNN`.

    **Source:** [Schuster and Paliwal, "Bidirectional Recurrent Neural Networks",
    1997](https://doi.org/10.1109/78.650093).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Bidirectional, GRUCell

        key1, key2 = jax.random.split(jax.random.key(0))
        both = Bidirectional(GRUCell(2, 5, key=key1), GRUCell(2, 5, key=key2))
        assert both(jnp.ones((7, 2))).shape == (7, 10)
        ```
    """

    forward: RNN[Forward_co]
    backward: RNN[Backward_co]

    def __init__(
        self,
        forward: Forward_co,
        backward: Backward_co,
        unroll: int | bool = 1,
        return_sequences: bool = True,
    ):
        self.forward = RNN(forward, False, unroll, return_sequences)
        self.backward = RNN(backward, True, unroll, return_sequences)

    @overload
    def __call__(
        self: "Bidirectional[Cell[H], Cell[H2]]",
        inputs: Array,
        initial: tuple[H, H2] | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: Literal[False] = False,
    ) -> Array: ...
    @overload
    def __call__(
        self: "Bidirectional[Cell[H], Cell[H2]]",
        inputs: Array,
        initial: tuple[H, H2] | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: Literal[True],
    ) -> tuple[Array, tuple[H, H2]]: ...
    @overload
    def __call__(
        self: "Bidirectional[Cell[H], Cell[H2]]",
        inputs: Array,
        initial: tuple[H, H2] | None = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: bool,
    ) -> Array | tuple[Array, tuple[H, H2]]: ...
    def __call__(
        self,
        inputs: Array,
        initial: Any = None,
        *,
        mask: Array | None = None,
        key: PRNGKeyArray | None = None,
        return_state: bool = False,
    ) -> Any:
        """Runs over one sequence.

        **Arguments:**

        - `inputs`: of shape `(length, input_size)`.
        - `initial`: a pair of first hidden states, of the forward and of the backward cell.
        - `mask`, `key`, `return_state`: as for `RNN`.

        **Returns:** the joined outputs; with `return_state`, the pair of these and of the pair of
        final hidden states.

        **Raises:** as `RNN`.
        """
        for rnn in (self.forward, self.backward):
            _check(self, rnn.cell, inputs, mask)
        if initial is not None and not (isinstance(initial, tuple | list) and len(initial) == 2):
            raise TypeError(
                f"`Bidirectional` takes as initial state a pair, of the forward and of the "
                f"backward cell, but received {kind_of(initial)}."
            )
        first, second = (None, None) if initial is None else initial
        keys: Any = (None, None) if key is None else jr.split(key)
        runs = ((self.forward, first, keys[0]), (self.backward, second, keys[1]))
        (y, h), (z, g) = (
            rnn(inputs, start, mask=mask, key=own, return_state=True) for rnn, start, own in runs
        )
        out = jnp.concatenate([y, z], axis=-1)
        return (out, (h, g)) if return_state else out


def _check(layer: Any, cell: Any, inputs: Array, mask: Any) -> int:
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
    return received[0]


def _check_initial(layer: RNN[Any], cell: Any, initial: Any) -> None:
    """Refuses a first hidden state that is not like what `cell.initial_state()` returns."""
    expected: Any = jax.eval_shape(lambda: cell.initial_state())
    if jtu.tree_structure(initial) != jtu.tree_structure(expected):
        raise TypeError(
            f"`RNN`: the initial state of {type(cell).__name__} has the structure "
            f"{jtu.tree_structure(expected)}, but that received has "
            f"{jtu.tree_structure(initial)}."
        )
    for like, leaf in zip(jtu.tree_leaves(expected), jtu.tree_leaves(initial), strict=True):
        if jnp.shape(leaf) != like.shape:
            raise ShapeError(
                f"`RNN`: the initial state of {type(cell).__name__} must be of shape "
                f"{like.shape}, but is of shape {jnp.shape(leaf)}.",
                layer,
                like.shape,
                jnp.shape(leaf),
            )


def _output(cell: Any, hidden: Any) -> Any:
    if hasattr(cell, "output"):
        return cell.output(hidden)
    return hidden[0] if isinstance(hidden, (tuple, list)) else hidden


# Compiled, so that a call outside of `jax.jit` finds its program again.
@filter_jit
def _run(rnn: RNN[Any], inputs: Array, initial: Any, mask: Any, key: Any, length: int) -> Any:
    """The outputs of all steps, and the final state."""
    initial = jtu.tree_map(jnp.asarray, initial)
    if mask is not None:
        # What is padded may be anything, also NaN, and must not get into a gradient.
        shown = mask.reshape((-1,) + (1,) * (inputs.ndim - 1))
        inputs = jnp.where(shown, inputs, jnp.zeros_like(inputs))
    run = _run_fast if hasattr(rnn.cell, "project") else _run_any
    states = run(rnn, inputs, initial, mask, key, length)
    last = 0 if rnn.reverse else -1
    final = jtu.tree_map(lambda s: s[last], states) if length else initial
    outputs = jax.vmap(lambda state: _output(rnn.cell, state))(states)
    if mask is not None:
        outputs = jtu.tree_map(
            lambda y: jnp.where(mask.reshape((-1,) + (1,) * (y.ndim - 1)), y, jnp.zeros_like(y)),
            outputs,
        )
    return outputs, final


def _run_any(rnn: RNN[Any], inputs: Array, initial: Any, mask: Any, key: Any, length: int) -> Any:
    """All states of a cell of which nothing is known."""
    cell = rnn.cell
    with_key = takes_key(cell)
    keys = jr.split(key, length) if with_key and key is not None else None

    def step(state: Any, slices: Any) -> Any:
        x, m, key = slices
        new = cell(x, state, key=key) if with_key else cell(x, state)
        if m is not None:
            new = jtu.tree_map(lambda n, s: jnp.where(m, n, s), new, state)
        return new, new

    xs = (inputs, mask, keys)
    return jax.lax.scan(step, initial, xs, reverse=rnn.reverse, unroll=rnn.unroll)[1]


def _run_fast(rnn: RNN[Any], inputs: Array, initial: Any, mask: Any, key: Any, length: int) -> Any:
    """All states of a cell that says how its state enters."""
    cell = rnn.cell
    without_parameters = partition(cell, is_array)[1]
    adds = bool(getattr(cell, "adds", False))
    if mask is not None:
        # A number, since it goes where there are derivatives.
        mask = mask.astype(jtu.tree_leaves(initial)[0].dtype)
    return recurrence(
        _Combined(without_parameters.combine, adds),
        without_parameters.read,
        adds,
        rnn.reverse,
        rnn.unroll,
        cell.recurrent_weight,
        cell.project(inputs),
        mask,
        initial,
    )


class _Combined(Module):
    """A step of `recurrence`; where the mask is 0 the state stays."""

    combine: Any
    adds: bool = field(static=True)

    def __call__(self, entering: Any, hidden: Any, mask: Any) -> Any:
        new = self.combine(entering, hidden) if self.adds else self.combine(*entering, hidden)
        if mask is None:
            return new
        return jtu.tree_map(lambda n, h: jnp.where(mask != 0, n, h), new, hidden)
