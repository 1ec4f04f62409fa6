"""`RNN`: a recurrent cell over a sequence."""

from typing import Any, Generic, Literal, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import ShapeError
from nn_layers._core.signatures import structure_difference
from nn_layers._types import Cell, H, Layer_co
from pytree_module import Module, field
from tree_surgery.extend import public

from .run_cell import cell_output, check_inputs, run_cell


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
        check_inputs(self, self.cell, inputs, mask)
        if initial is None:
            if not hasattr(self.cell, "initial_state"):
                raise TypeError(
                    f"`RNN`: {type(self.cell).__name__} has no method `initial_state`, so give the "
                    f"first hidden state: `rnn(inputs, initial)`."
                )
            initial = self.cell.initial_state()
        elif hasattr(self.cell, "initial_state"):
            _check_initial(self, self.cell, initial)
        outputs, final = run_cell(self, inputs, initial, mask, key)
        out = outputs if self.return_sequences else cell_output(self.cell, final)
        return (out, final) if return_state else out


def _check_initial(layer: RNN[Any], cell: Any, initial: Any) -> None:
    """Refuses a first hidden state that is not like what `cell.initial_state()` returns."""
    expected: Any = jax.eval_shape(lambda: cell.initial_state())
    difference = structure_difference(expected, initial)
    if difference is not None:
        raise TypeError(
            f"`RNN`: the initial state of {type(cell).__name__} has another structure. At "
            f"{difference.path} it has {difference.expected}, but that received has "
            f"{difference.found}."
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
