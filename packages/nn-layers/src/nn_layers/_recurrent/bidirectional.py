"""`Bidirectional`: two recurrent cells over a sequence, in opposite directions."""

from typing import Any, Generic, Literal, overload

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.shape_errors import kind_of
from nn_layers._types import H2, Backward_co, Cell, Forward_co, H
from pytree_module import Module

from .rnn import RNN
from .run_cell import check_inputs


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
            check_inputs(self, rnn.cell, inputs, mask)
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
