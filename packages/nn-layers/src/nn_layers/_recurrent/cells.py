"""Recurrent cells: one step of a recurrent network."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.initialisers import draw
from nn_layers._core.shape_errors import kind_of, refuse_shape, shape_of, size
from nn_layers._types import DType
from pytree_module import Module, field
from tree_surgery.extend import public


def _check(layer: Any, name: str, x: Any, expected: int) -> None:
    received = shape_of(layer, x)
    if received != (expected,):
        refuse_shape(layer, (f"{name}={expected}",), received)


def _lstm(total: Array, c: Array) -> tuple[Array, Array]:
    """From what enters the gates, and the memory: hidden state and memory."""
    i, f, g, o = jnp.split(total, 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


# The same, but with six factors to keep for the way back instead of eleven: memory is what takes
# time when a batch of sequences is differentiated.
_lean_lstm = jax.custom_jvp(_lstm)


@_lean_lstm.defjvp
def _lstm_jvp(primals: Any, tangents: Any) -> Any:
    total, c = primals
    d_total, d_c = tangents
    i, f, g, o = jnp.split(total, 4)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    new = f * c + i * g
    t = jnp.tanh(new)
    d_i, d_f, d_g, d_o = jnp.split(d_total, 4)
    d_new = f * d_c + (i * (1 - i) * g) * d_i + (f * (1 - f) * c) * d_f + (i * (1 - g * g)) * d_g
    d_h = (o * (1 - t * t)) * d_new + (o * (1 - o) * t) * d_o
    return (o * t, new), (d_h, d_new)


@public
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
        self.input_size = input_size = size("GRUCell", "input_size", input_size)
        self.hidden_size = n = size("GRUCell", "hidden_size", hidden_size)
        self.use_bias = use_bias
        biases = ((3 * n,), (n,)) if use_bias else (None, None)
        shapes = ((3 * n, input_size), (3 * n, n), *biases)
        drawn = draw("GRUCell", key, n, shapes, dtype)
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
        _check(self, "input_size", input, self.weight_ih.shape[-1])
        _check(self, "hidden_size", hidden, self.weight_hh.shape[-1])
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


@public
class LSTMCell(Module):
    r"""One step of a long short-term memory.

    With the rows of $W$, $U$ and $b$ split into four equal parts $i$, $f$, $g$, $o$, input $x$,
    hidden state $h$ and memory $c$:
    $$i = \sigma(W_i x + U_i h + b_i), \quad f = \sigma(W_f x + U_f h + b_f), \quad
    g = \tanh(W_g x + U_g h + b_g), \quad o = \sigma(W_o x + U_o h + b_o),$$
    $$c' = f \odot c + i \odot g, \qquad h' = o \odot \tanh(c').$$

    **Shapes:** the input is `(input_size,)`, hidden state and memory are `(hidden_size,)` each.
    `weight_ih` ($W$) is `(4 * hidden_size, input_size)`, `weight_hh` ($U$)
    `(4 * hidden_size, hidden_size)`, `bias` ($b$) `(4 * hidden_size,)`: the sum of PyTorch's
    `bias_ih` and `bias_hh`.

    **Initialisation:** all are uniform on $[-k, k)$ with $k = 1/\sqrt{\texttt{hidden\_size}}$.

    **Arguments:**

    - `input_size`, `hidden_size`: the sizes of input, and of hidden state and memory.
    - `use_bias`: whether there is a bias.
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the initial parameters are drawn from.

    **Source:** [Hochreiter and Schmidhuber, "Long Short-Term Memory",
    1997](https://doi.org/10.1162/neco.1997.9.8.1735), with the forget gate of
    [Gers et al., 2000](https://doi.org/10.1162/089976600300015015).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import LSTMCell

        cell = LSTMCell(2, 5, key=jax.random.key(0))
        start = (jnp.zeros(5), jnp.zeros(5))
        (h, c), _ = jax.lax.scan(lambda s, x: (cell(x, s), None), start, jnp.ones((7, 2)))
        assert h.shape == c.shape == (5,)
        ```
    """

    weight_ih: Array
    weight_hh: Array
    bias: Array | None
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
        self.input_size = input_size = size("LSTMCell", "input_size", input_size)
        self.hidden_size = n = size("LSTMCell", "hidden_size", hidden_size)
        self.use_bias = use_bias
        shapes = ((4 * n, input_size), (4 * n, n), (4 * n,) if use_bias else None)
        self.weight_ih, self.weight_hh, self.bias = draw("LSTMCell", key, n, shapes, dtype)

    def __call__(
        self, input: Array, hidden: tuple[Array, Array], *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        """Takes one step.

        **Arguments:**

        - `input`: of shape `(input_size,)`.
        - `hidden`: the pair of hidden state and memory, each of shape `(hidden_size,)`.
        - `key`: ignored; layers take a key so that all can be called alike.

        **Returns:** the pair of new hidden state and new memory.

        **Raises:** `ShapeError` for arrays of other shapes, `TypeError` if `hidden` is no pair.
        """
        if not isinstance(hidden, (tuple, list)) or len(hidden) != 2:  # pyright: ignore[reportUnnecessaryIsInstance]  (a user may)
            raise TypeError(
                f"`LSTMCell` takes a pair (hidden state, memory) as second argument, but received "
                f"{kind_of(hidden)}."
            )
        h, c = hidden
        hidden_size = self.weight_hh.shape[-1]
        _check(self, "input_size", input, self.weight_ih.shape[-1])
        _check(self, "hidden_size", h, hidden_size)
        _check(self, "hidden_size", c, hidden_size)
        total = self.weight_ih @ input + self.weight_hh @ h
        if self.bias is not None:
            total = total + self.bias
        return _lstm(total, c)

    @property
    def recurrent_weight(self) -> Array:
        """What the hidden state is multiplied by: `weight_hh`. For `RNN`."""
        return self.weight_hh

    def initial_state(self) -> tuple[Array, Array]:
        """**Returns:** hidden state and memory before the first step: zeros."""
        zeros = jnp.zeros(self.weight_hh.shape[-1], self.weight_hh.dtype)
        return zeros, zeros

    def output(self, hidden: tuple[Array, Array]) -> Array:
        """**Returns:** of the pair of hidden state and memory, the first."""
        return hidden[0]

    def project(self, inputs: Array) -> Array:
        """What the inputs contribute, for all steps of a sequence at once. For `RNN`.

        **Arguments:**

        - `inputs`: of shape `(length, input_size)`.

        **Returns:** $Wx + b$, of shape `(length, 4 * hidden_size)`.
        """
        inputs = inputs @ self.weight_ih.T
        return inputs if self.bias is None else inputs + self.bias[None]

    def read(self, hidden: tuple[Array, Array]) -> Array:
        """**Returns:** the hidden state, without the memory. For `RNN`."""
        return hidden[0]

    adds: ClassVar[bool] = True
    """That `combine` takes the sum. For `RNN`."""

    def combine(self, total: Array, hidden: tuple[Array, Array]) -> tuple[Array, Array]:
        """The rest of a step, without any parameter. For `RNN`.

        **Arguments:**

        - `total`: of one step, what `project` returns, plus `weight_hh` times the hidden state.
        - `hidden`: the pair of hidden state and memory.

        **Returns:** the new pair.
        """
        return _lean_lstm(total, hidden[1])
