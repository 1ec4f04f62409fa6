"""Attention."""

import functools
from collections.abc import Callable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.key_arguments import split_key
from nn_layers._core.shape_errors import ShapeError, refuse_shape, shape_of, size
from nn_layers._dense.dropout import Dropout
from nn_layers._dense.linear import Linear, apply_to_rows
from nn_layers._types import DType
from pytree_module import Module, field
from pytree_module.extend import warn_user
from tree_surgery.extend import public

from .kv_cache import KVCache, nan_beyond, remember, seen
from .softmax_attention import attend

ProcessHeads = Callable[[Array, Array, Array], tuple[Array, Array, Array]]

_RENAMED = "`MultiheadAttention` calls `deterministic` `inference` now: {use} instead."


@public
class MultiheadAttention(Module):
    r"""Several heads that each look up values by the likeness of queries and keys.

    $$\text{head}_i = \operatorname{softmax}\left(\frac{Q W^Q_i (K W^K_i)^\top}{\sqrt{d}}\right)
    V W^V_i, \qquad y = [\text{head}_1, \dots, \text{head}_h] \, W^O$$
    with $d$ = `qk_size`. The softmax is computed in float32 or better.

    **Shapes:** queries are `(query_length, query_size)`, keys `(kv_length, key_size)`, values
    `(kv_length, value_size)`; the output is `(query_length, output_size)`. `query_proj` is a
    `Linear` layer onto `num_heads * qk_size`, `key_proj` onto `num_kv_heads * qk_size`,
    `value_proj` onto `num_kv_heads * vo_size`, and `output_proj` from `num_heads * vo_size` onto
    `output_size`.

    **Memory:** where the logits of all heads are large, they are computed one head after the other,
    and in pieces of each, and once more for the gradient: then memory grows with the length of the
    sequence, not with its square. On a CPU this is faster, too.

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
    - `num_kv_heads`: how many heads of keys and values there are; by default `num_heads`. With a
        divisor of it neighbouring heads of queries share keys and values (grouped queries), with 1
        all of them do (multi-query).
    - `key`: what the initial parameters are drawn from.

    **Source:** [Vaswani et al., "Attention Is All You Need",
    2017](https://arxiv.org/abs/1706.03762); for `num_kv_heads`, [Shazeer, "Fast Transformer
    Decoding", 2019](https://arxiv.org/abs/1911.02150) and [Ainslie et al., "GQA",
    2023](https://arxiv.org/abs/2305.13245).

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
        dtype: DType = None,
        *,
        num_kv_heads: int | None = None,
        key: PRNGKeyArray,
    ):
        def given(name: str, value: int | None, default: int) -> int:
            return default if value is None else size("MultiheadAttention", name, value)

        self.num_heads = heads = size("MultiheadAttention", "num_heads", num_heads, least=1)
        self.query_size = query_size = size("MultiheadAttention", "query_size", query_size)
        self.key_size = given("key_size", key_size, query_size)
        self.value_size = given("value_size", value_size, query_size)
        self.output_size = given("output_size", output_size, query_size)
        self.qk_size = qk = given("qk_size", qk_size, query_size // heads)
        self.vo_size = vo = given("vo_size", vo_size, query_size // heads)
        if query_size < heads and (qk_size is None or vo_size is None) and query_size > 0:
            raise ValueError(
                f"`MultiheadAttention`: {heads} heads of a `query_size` of {query_size} would be "
                f"of size 0 each, as the default is `query_size // num_heads`. Take fewer heads, "
                f"or say how large each is: `qk_size=` and `vo_size=`."
            )
        self.use_query_bias = use_query_bias
        self.use_key_bias = use_key_bias
        self.use_value_bias = use_value_bias
        self.use_output_bias = use_output_bias
        kv = given("num_kv_heads", num_kv_heads, heads)
        if kv < 1 or heads % kv != 0:
            raise ValueError(
                f"`MultiheadAttention`: `num_heads` must be a multiple of `num_kv_heads`, got "
                f"{heads} and {kv}."
            )
        keys = split_key("MultiheadAttention", key, 4)
        self.query_proj = Linear(query_size, heads * qk, use_query_bias, dtype, key=keys[0])
        self.key_proj = Linear(self.key_size, kv * qk, use_key_bias, dtype, key=keys[1])
        self.value_proj = Linear(self.value_size, kv * vo, use_value_bias, dtype, key=keys[2])
        self.output_proj = Linear(heads * vo, self.output_size, use_output_bias, dtype, key=keys[3])
        self.dropout = Dropout(dropout_p, inference=inference)

    @overload
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
        implementation: Literal["auto", "xla", "cudnn"] = "auto",
        cache: None = None,
    ) -> Array: ...
    @overload
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
        implementation: Literal["auto", "xla", "cudnn"] = "auto",
        cache: KVCache,
    ) -> tuple[Array, KVCache]: ...
    @overload
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
        implementation: Literal["auto", "xla", "cudnn"] = "auto",
        cache: KVCache | None,
    ) -> Array | tuple[Array, KVCache]: ...
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
        implementation: Literal["auto", "xla", "cudnn"] = "auto",
        cache: KVCache | None = None,
    ) -> Any:
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
            `(length, num_heads, size)` (`num_kv_heads` for keys and values), which returns three
            arrays of these shapes: such as rotary embeddings of queries and keys.
        - `is_causal`: whether query i may see keys 0 to i only; on top of `mask`.
        - `bias`: what is added to the logits before the softmax, of a shape that `mask` may have.
            Minus infinity hides a key, as a mask does.
        - `implementation`: `"auto"` for the one described above; `"xla"` or `"cudnn"` for that of
            `jax.nn.dot_product_attention` of this name. It has no dropout, and `"cudnn"` needs a
            GPU of NVIDIA and half precision, and may not be finite where a query sees no key.
        - `cache`: keys and values of what came before, made by `init_cache`. Those of this call are
            appended, after `process_heads`: so positions there begin at `cache.length`. Queries see
            all of them, or with `is_causal` those up to their own position. The `kv_length` of
            `mask` and `bias` is then the `max_length` of the cache.

        **Returns:** an array of shape `(query_length, output_size)`; with a `cache`, the pair of it
        and the next cache.

        **Raises:** `ShapeError` for arrays of other shapes; `RuntimeError` if there is a dropout
        and no key; `ValueError` for an implementation that does not exist, or has no dropout where
        there is one, or a cache that is too short. (Compiled, nobody knows that: outputs are NaN.)
        """
        if deterministic is not None:
            use = f"write `inference={deterministic}`"
            warn_user(_RENAMED.format(use=use))
            inference = deterministic
        self._check(query, key_, value)
        q, k, v = self._project(query, key_, value)
        if process_heads is not None:
            q, k, v = _processed(process_heads, q, k, v)
        new_cache = None
        if cache is not None:
            new_cache, k, v = remember(self, cache, k, v)
        shape = (self.num_heads, q.shape[0], k.shape[0])
        mask, bias = self._per_head("mask", mask, shape), self._per_head("bias", bias, shape)
        if cache is not None and new_cache is not None:
            mask, is_causal = seen(cache, new_cache, q.shape[0], is_causal, mask), False
        drops = self._drops(inference)
        if implementation == "auto":
            drop, keys = None, None
            if drops:
                drop = functools.partial(_drop, self.dropout, inference)
                keys = None if key is None else jr.split(key, self.num_heads)
            attended = attend(q, k, v, mask, bias, is_causal, drop, keys)
        else:
            attended = _from_jax(implementation, q, k, v, mask, bias, is_causal, drops)
        joined = attended.reshape(attended.shape[0], attended.shape[1] * attended.shape[2])
        y = apply_to_rows(self.output_proj, joined)
        return y if new_cache is None else (nan_beyond(new_cache, y), new_cache)

    def init_cache(self, max_length: int, dtype: DType = None) -> KVCache:
        """An empty cache, for a sequence that grows: see `KVCache`.

        **Arguments:**

        - `max_length`: how many elements the sequence may have.
        - `dtype`: of what is kept; by default that of the parameters.

        **Returns:** the cache.
        """
        dtype = self.key_proj.weight.dtype if dtype is None else dtype
        return KVCache(max_length, self.num_kv_heads, self.qk_size, self.vo_size, dtype)

    @property
    def num_kv_heads(self) -> int:
        """How many heads of keys and values there are."""
        return self.key_proj.weight.shape[0] // self.qk_size if self.qk_size else self.num_heads

    def _project(self, query: Array, key_: Array, value: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values of all heads, each `(length, num_heads, size)`."""
        q = apply_to_rows(self.query_proj, query)
        k, v = apply_to_rows(self.key_proj, key_), apply_to_rows(self.value_proj, value)
        # The projections say how many heads there are: they may be of another class than `Linear`.
        kv_heads = k.shape[1] // self.qk_size if self.qk_size else self.num_heads
        return _in_heads(q, self.num_heads), _in_heads(k, kv_heads), _in_heads(v, kv_heads)

    def _drops(self, inference: bool | None) -> bool:
        """Whether weights may be dropped: not if it is known that none will."""
        flag: Any = self.dropout.inference if inference is None else inference
        return not (
            flag is True or (isinstance(self.dropout.p, float | int) and self.dropout.p == 0)
        )

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

    def _per_head(self, name: str, x: Any, shape: tuple[int, ...]) -> Any:
        """`x`, which is to be of this shape, or the same for all heads."""
        if x is None:
            return None
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
        return jnp.asarray(x)


def _in_heads(x: Array, heads: int) -> Array:
    return x.reshape(x.shape[0], heads, x.shape[1] // heads)


def _drop(dropout: Dropout, inference: Any, weights: Array, key: Any) -> Array:
    try:
        return dropout(weights, key=key, inference=inference)
    except RuntimeError as error:
        if key is None:
            error.add_note(
                "This was in MultiheadAttention.dropout, so it is "
                "`attention(query, key_, value, key=key)`."
            )
        raise


def _from_jax(
    implementation: Any,
    q: Array,
    k: Array,
    v: Array,
    mask: Any,
    bias: Any,
    causal: bool,
    drops: bool,
) -> Array:
    if implementation not in ("xla", "cudnn"):
        raise ValueError(
            f"`MultiheadAttention`: `implementation` must be 'auto', 'xla' or 'cudnn', got "
            f"{implementation!r}."
        )
    if drops:
        raise ValueError(
            f"`MultiheadAttention`: `implementation={implementation!r}` has no dropout. Use "
            f"'auto', or `dropout_p=0`, or inference mode."
        )
    mask, bias = (x if x is None or x.ndim == 3 else x[None] for x in (mask, bias))
    if bias is not None:
        # Minus infinity is a mask: as a number it would make a row without a key NaN.
        seen = bias != -jnp.inf
        mask = seen if mask is None else jnp.logical_and(mask, seen)
        bias = jnp.where(seen, bias, jnp.zeros_like(bias)).astype(q.dtype)
    # JAX's own code mixes float32 with the dtype of what it is given.
    with jax.numpy_dtype_promotion("standard"):
        return jax.nn.dot_product_attention(
            q, k, v, bias, mask, is_causal=causal, implementation=implementation
        )


def _processed(process: ProcessHeads, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    new = process(q, k, v)
    shapes = [q.shape, k.shape, v.shape]
    if [x.shape for x in new] != shapes:
        raise ShapeError(
            f"`MultiheadAttention`: `process_heads` must not change the shape of the heads: it was "
            f"called on {shapes} and returned {[x.shape for x in new]}."
        )
    return new
