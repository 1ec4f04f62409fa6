"""`GRUCell`: one step of a gated recurrent unit."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.initialisers import draw_uniform
from nn_layers._core.shape_errors import check_vector, validate_size
from nn_layers._types import DType
from pytree_module import Module, field


class GRUCell(Module):
    r"""One step of a gated recurrent unit.

    With the rows of $W$, $U$ and $b$ split into three equal parts $r$, $z$, $n$, input $x$ and
    hidden state $h$:
    $$r = \sigma(W_r x + b_r + U_r h), \qquad z = \sigma(W_z x + b_z + U_z h),$$
    $$n = \tanh(W_n x + b_n + r \odot (U_n h + b'_n)), \qquad h' = (1 - z) \odot n + z \odot h.$$

    **Shapes:** the input is `(input_size,)`, hidden state and output are `(hidden_size,)`.
    `weight_ih` ($W$) is `(3 * hidden_size, input_size)`, `weight_hh` ($U$)
    `(3 * hidden_size, hidden_size)`, `bias` ($b$) `(3 * hidden_size,)`, `bias_n` ($b'_n$)
    `(hidden_size,)`. PyTorch has two vectors, `bias_ih` and `bias_hh`, of which the parts for $r$
    and $z$ only ever occur as their sum: that sum, with `bias_ih` for $n$, is `bias`; the part of
    `bias_hh` for $n$ is `bias_n`.

    **Initialisation:** all are uniform on $[-k, k)$ with $k = 1/\sqrt{\texttt{hidden\_size}}$.

    **Arguments:**

    - `input_size`, `hidden_size`: the sizes of input and hidden state.
    - `use_bias`: whether there are biases.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the initial parameters are drawn from.

    **Source:** [Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder",
    2014](https://arxiv.org/abs/1406.1078).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import GRUCell

        cell = GRUCell(2, 5, key=jax.random.key(0))
        sequence = jnp.ones((7, 2))
        last, _ = jax.lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(5), sequence)
        assert last.shape == (5,)
        ```
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None
    bias_n: Array | None
    input_size: int = field(static=True)
    hidden_size: int = field(static=True)
    use_bias: bool = field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        use_bias: bool = True,
        dtype: DType = None,
        *,
        key: PRNGKeyArray,
    ):
        self.input_size = input_size = validate_size("GRUCell", "input_size", input_size)
        self.hidden_size = n = validate_size("GRUCell", "hidden_size", hidden_size)
        self.use_bias = use_bias
        biases = ((3 * n,), (n,)) if use_bias else (None, None)
        shapes = ((3 * n, input_size), (3 * n, n), *biases)
        drawn = draw_uniform("GRUCell", key, n, shapes, dtype)
        self.weight_ih, self.weight_hh, self.bias, self.bias_n = drawn

    def __call__(self, input: Array, hidden: Array, *, key: PRNGKeyArray | None = None) -> Array:
        """Takes one step.

        **Arguments:**

        - `input`: of shape `(input_size,)`.
        - `hidden`: the state, of shape `(hidden_size,)`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** the new state, of shape `(hidden_size,)`.

        **Raises:** `ShapeError` for arrays of other shapes.
        """
        check_vector(self, "input_size", input, self.weight_ih.shape[-1])
        check_vector(self, "hidden_size", hidden, self.weight_hh.shape[-1])
        inputs = self.weight_ih @ input
        if self.bias is not None:
            inputs = inputs + self.bias
        input_r, input_z, input_n = jnp.split(inputs, 3)
        hidden_r, hidden_z, hidden_n = jnp.split(self.weight_hh @ hidden, 3)
        if self.bias_n is not None:
            hidden_n = hidden_n + self.bias_n
        r = jax.nn.sigmoid(input_r + hidden_r)
        z = jax.nn.sigmoid(input_z + hidden_z)
        n = jnp.tanh(input_n + r * hidden_n)
        return n + z * (hidden - n)

    @property
    def recurrent_weight(self) -> Array:
        """What the hidden state is multiplied by: `weight_hh`. For `RNN`."""
        return self.weight_hh

    def initial_state(self) -> Array:
        """**Returns:** the hidden state before the first step: zeros."""
        return jnp.zeros(self.weight_hh.shape[-1], self.weight_hh.dtype)

    def project(self, inputs: Array) -> tuple[Array, ...]:
        """What the inputs contribute, for all steps of a sequence at once. For `RNN`.

        **Arguments:**

        - `inputs`: of shape `(length, input_size)`.

        **Returns:** $Wx + b$ in its three parts, and $b'_n$, each of shape `(length, hidden_size)`.
        """
        inputs = inputs @ self.weight_ih.T
        if self.bias is not None:
            inputs = inputs + self.bias[None]
        parts = jnp.split(inputs, 3, axis=-1)
        if self.bias_n is None:
            return *parts, jnp.zeros_like(parts[0])
        return *parts, jnp.broadcast_to(self.bias_n, parts[0].shape)

    def read(self, hidden: Array) -> Array:
        """**Returns:** the hidden state. For `RNN`."""
        return hidden

    def combine(self, projected: tuple[Array, ...], product: Array, hidden: Array) -> Array:
        """The rest of a step, without any parameter. For `RNN`.

        **Arguments:**

        - `projected`: of one step, as `project` returns it.
        - `product`: `weight_hh @ hidden`.
        - `hidden`: the state, of shape `(hidden_size,)`.

        **Returns:** the new state.
        """
        input_r, input_z, input_n, bias_n = projected
        hidden_r, hidden_z, hidden_n = jnp.split(product, 3)
        r = jax.nn.sigmoid(input_r + hidden_r)
        z = jax.nn.sigmoid(input_z + hidden_z)
        n = jnp.tanh(input_n + r * (hidden_n + bias_n))
        return n + z * (hidden - n)
