"""Attention."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from pytree_module import Module, field

from ._dropout import Dropout
from ._dtypes import exact
from ._errors import ShapeError, refuse_shape, shape_of, size
from ._linear import Linear

ProcessHeads = Callable[[Array, Array, Array], tuple[Array, Array, Array]]

_RENAMED = "`MultiheadAttention` calls `deterministic` `inference` now: {use} instead."


class MultiheadAttention(Module):
    r"""Several heads that each look up values by the likeness of queries and keys.

    $$\text{head}_i = \operatorname{softmax}\left(\frac{Q W^Q_i (K W^K_i)^\top}{\sqrt{d}}\right)
    V W^V_i, \qquad y = [\text{head}_1, \dots, \text{head}_h] \, W^O$$
    with $d$ = `qk_size`. The softmax is computed in float32 or better.

    **Shapes:** queries are `(query_length, query_size)`, keys `(kv_length, key_size)`, values
    `(kv_length, value_size)`; the output is `(query_length, output_size)`. `query_proj` and
    `key_proj` are `Linear` layers onto `num_heads * qk_size`, `value_proj` onto
    `num_heads * vo_size`, and `output_proj` from there onto `output_size`.

    **Initialisation:** that of `Linear`, from four keys split from `key`.

    **Arguments:**

    - `num_heads`: $h$.
    - `query_size`, `key_size`, `value_size`, `output_size`: sizes of queries, keys, values and
        output; by default those of the queries.
    - `qk_size`: the size of queries and keys in each head; by default `query_size // num_heads`.
    - `vo_size`: the size of values in each head; by default `query_size // num_heads`.
    - `use_query_bias`, `use_key_bias`, `use_value_bias`, `use_output_bias`: whether the four maps
        have a bias.
    - `dropout_p`: the probability with which a weight of the softmax is dropped in training.
    - `inference`: whether not to drop any. `inference_mode` sets it (in `dropout`).
    - `dtype`: of the parameters; by default float32, or float64 under `jax_enable_x64`.
    - `key`: what the initial parameters are drawn from.

    **Source:** [Vaswani et al., "Attention Is All You Need",
    2017](https://arxiv.org/abs/1706.03762).

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import MultiheadAttention

        attention = MultiheadAttention(num_heads=2, query_size=8, key=jax.random.key(0))
        x = jax.random.normal(jax.random.key(1), (5, 8))
        causal = jnp.tril(jnp.ones((5, 5), bool))
        y = attention(x, x, x, mask=causal)
        assert y.shape == (5, 8)
        assert jnp.allclose(y[0], attention(x[:1], x[:1], x[:1])[0], atol=1e-5)
        ```
    """

    query_proj: Linear
    key_proj: Linear
    value_proj: Linear
    output_proj: Linear
    dropout: Dropout
    num_heads: int = field(static=True)
    query_size: int = field(static=True)
    key_size: int = field(static=True)
    value_size: int = field(static=True)
    output_size: int = field(static=True)
    qk_size: int = field(static=True)
    vo_size: int = field(static=True)
    use_query_bias: bool = field(static=True)
    use_key_bias: bool = field(static=True)
    use_value_bias: bool = field(static=True)
    use_output_bias: bool = field(static=True)

    def __init__(
        self,
        num_heads: int,
        query_size: int,
        key_size: int | None = None,
        value_size: int | None = None,
        output_size: int | None = None,
        qk_size: int | None = None,
        vo_size: int | None = None,
        use_query_bias: bool = False,
        use_key_bias: bool = False,
        use_value_bias: bool = False,
        use_output_bias: bool = False,
        dropout_p: float = 0.0,
        inference: bool = False,
        dtype: Any = None,
        *,
        key: PRNGKeyArray,
    ):
        def given(name: str, value: int | None, default: int) -> int:
            return default if value is None else size("MultiheadAttention", name, value)

        if key is None:  # pyright: ignore[reportUnnecessaryComparison] (callers need not be typed)
            raise TypeError("`MultiheadAttention` draws its initial parameters: pass `key=`.")
        self.num_heads = heads = size("MultiheadAttention", "num_heads", num_heads, least=1)
        self.query_size = query_size = size("MultiheadAttention", "query_size", query_size)
        self.key_size = given("key_size", key_size, query_size)
        self.value_size = given("value_size", value_size, query_size)
        self.output_size = given("output_size", output_size, query_size)
        self.qk_size = qk = given("qk_size", qk_size, query_size // heads)
        self.vo_size = vo = given("vo_size", vo_size, query_size // heads)
        self.use_query_bias = use_query_bias
        self.use_key_bias = use_key_bias
        self.use_value_bias = use_value_bias
        self.use_output_bias = use_output_bias
        keys = jr.split(key, 4)
        self.query_proj = Linear(query_size, heads * qk, use_query_bias, dtype, key=keys[0])
        self.key_proj = Linear(self.key_size, heads * qk, use_key_bias, dtype, key=keys[1])
        self.value_proj = Linear(self.value_size, heads * vo, use_value_bias, dtype, key=keys[2])
        self.output_proj = Linear(heads * vo, self.output_size, use_output_bias, dtype, key=keys[3])
        self.dropout = Dropout(dropout_p, inference=inference)

    @jax.named_scope("nn.MultiheadAttention")
    def __call__(
        self,
        query: Array,
        key_: Array,
        value: Array,
        mask: Array | None = None,
        *,
        key: PRNGKeyArray | None = None,
        inference: bool | None = None,
        deterministic: bool | None = None,
        process_heads: ProcessHeads | None = None,
        is_causal: bool = False,
        bias: Array | None = None,
    ) -> Array:
        """Attends.

        **Arguments:**

        - `query`: of shape `(query_length, query_size)`.
        - `key_`: of shape `(kv_length, key_size)`.
        - `value`: of shape `(kv_length, value_size)`.
        - `mask`: where it is true a query may see a key: of shape `(query_length, kv_length)`, or
            `(num_heads, query_length, kv_length)` for each head its own. A query that may see no
            key takes the mean of all values.
        - `key`: for the dropout; split into one for each head.
        - `inference`: overrides the field of that name in `dropout`.
        - `deterministic`: deprecated; an earlier name of `inference`.
        - `process_heads`: a function of queries, keys and values of all heads, each of shape
            `(length, num_heads, size)`, which returns three arrays of these shapes: such as rotary
            embeddings of queries and keys.
        - `is_causal`: whether query i may see keys 0 to i only; on top of `mask`.
        - `bias`: what is added to the logits before the softmax, of a shape that `mask` may have.

        **Returns:** an array of shape `(query_length, output_size)`.

        **Raises:** `ShapeError` for arrays of other shapes, `RuntimeError` if there is a dropout
        and no key.
        """
        if deterministic is not None:
            use = f"write `inference={deterministic}`"
            warnings.warn(_RENAMED.format(use=use), stacklevel=3)
            inference = deterministic
        self._check(query, key_, value)
        q = self._heads(self.query_proj, query)
        k = self._heads(self.key_proj, key_)
        v = self._heads(self.value_proj, value)
        if process_heads is not None:
            q, k, v = _processed(process_heads, q, k, v)
        logits = exact(jnp.einsum("qhd,khd->hqk", q / math.sqrt(q.shape[-1]), k))
        if bias is not None:
            logits = logits + self._per_head("bias", bias, logits.shape).astype(logits.dtype)
        if mask is not None:
            mask = self._per_head("mask", mask, logits.shape)
        if is_causal:
            causal = jnp.tril(jnp.ones(logits.shape[1:], bool))
            mask = causal[None] if mask is None else jnp.logical_and(mask, causal[None])
        if mask is not None:
            # Not minus infinity: a row without any key would be NaN.
            logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min)
        weights = self._drop(jax.nn.softmax(logits, axis=-1).astype(v.dtype), key, inference)
        attended = jnp.einsum("hqk,khd->qhd", weights, v)
        return jax.vmap(self.output_proj)(attended.reshape(query.shape[0], -1))

    def _heads(self, projection: Linear, x: Array) -> Array:
        return jax.vmap(projection)(x).reshape(x.shape[0], self.num_heads, -1)

    def _check(self, query: Array, key_: Array, value: Array) -> None:
        for name, x, own in (
            ("query", query, self.query_size),
            ("key", key_, self.key_size),
            ("value", value, self.value_size),
        ):
            received = shape_of(self, x)
            if len(received) != 2 or received[1] != own:
                refuse_shape(self, (f"{name}_length", f"{name}_size={own}"), received)
        if key_.shape[0] != value.shape[0]:
            raise ShapeError(
                f"`MultiheadAttention` takes keys and values of equal length, but received keys of "
                f"shape {key_.shape} and values of shape {value.shape}.",
                self,
                (key_.shape[0], self.value_size),
                value.shape,
            )

    def _per_head(self, name: str, x: Array, shape: tuple[int, ...]) -> Array:
        """`x` with an axis of heads."""
        received = shape_of(self, x)
        if received not in (shape, shape[1:]):
            raise ShapeError(
                f"`MultiheadAttention`: `{name}` must be of shape (query_length, kv_length) = "
                f"{shape[1:]} or (num_heads, query_length, kv_length) = {shape}, but received one "
                f"of shape {received}.",
                self,
                shape[1:],
                received,
            )
        return jnp.broadcast_to(jnp.asarray(x), shape)

    def _drop(self, weights: Array, key: Any, inference: bool | None) -> Array:
        if key is None:
            return self.dropout(weights, inference=inference)
        keys = jr.split(key, self.num_heads)
        return jax.vmap(lambda w, k: self.dropout(w, key=k, inference=inference))(weights, keys)


def _processed(process: ProcessHeads, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    new = process(q, k, v)
    shapes = [q.shape, k.shape, v.shape]
    if [x.shape for x in new] != shapes:
        raise ShapeError(
            f"`MultiheadAttention`: `process_heads` must not change the shape of the heads: it was "
            f"called on {shapes} and returned {[x.shape for x in new]}."
        )
    return new
