"""`MultiheadAttention`: projections, heads, mask, dropout and cache around `softmax_attention`."""

import functools
from collections.abc import Callable
from typing import Any, Literal, overload

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from nn_layers._core.initialisers import separate_keys
from nn_layers._core.shape_errors import ShapeError, refuse_shape, shape_of, validate_size
from nn_layers._dense.dropout import Dropout
from nn_layers._dense.linear import Linear, apply_to_rows
from nn_layers._types import DType
from pytree_module import Module, field
from pytree_module.extend import warn_user
from tree_surgery.extend import public

from .jax_attention import attend_by_jax, check_implementation
from .kv_cache import KVCache, append_to_cache, mask_of_cache, nan_if_overfull
from .softmax_attention import QKV, LogitMask, WeightDropout, attend

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

    def __init__(  # noqa: PLR0917 - Equinox fixes it
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
            return default if value is None else validate_size("MultiheadAttention", name, value)

        self.num_heads = heads = validate_size(
            "MultiheadAttention", "num_heads", num_heads, least=1
        )
        self.query_size = query_size = validate_size("MultiheadAttention", "query_size", query_size)
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
        keys = separate_keys("MultiheadAttention", key, 4)
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
        self._check_inputs(query, key_, value)
        qkv = self._project(query, key_, value)
        if process_heads is not None:
            qkv = _process(process_heads, qkv)
        new_cache = None
        if cache is not None:
            new_cache, k, v = append_to_cache(self, cache, qkv.k, qkv.v)
            qkv = QKV(qkv.q, k, v)
        shape = (self.num_heads, qkv.q.shape[0], qkv.k.shape[0])
        mask = self._check_per_head("mask", mask, shape)
        bias = self._check_per_head("bias", bias, shape)
        if cache is not None and new_cache is not None:
            mask, is_causal = mask_of_cache(cache, new_cache, shape[1], is_causal, mask), False
        dropout = self._weight_dropout(inference, key)
        if implementation == "auto":
            attended = attend(qkv, LogitMask(mask, bias), is_causal, dropout)
        else:
            check_implementation(implementation, dropout)
            attended = attend_by_jax(implementation, qkv, LogitMask(mask, bias), is_causal)
        joined = attended.reshape(attended.shape[0], attended.shape[1] * attended.shape[2])
        y = apply_to_rows(self.output_proj, joined)
        return y if new_cache is None else (nan_if_overfull(new_cache, y), new_cache)

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

    def _project(self, query: Array, key_: Array, value: Array) -> QKV:
        """Queries, keys and values of all heads, each `(length, num_heads, size)`."""
        q = apply_to_rows(self.query_proj, query)
        k, v = apply_to_rows(self.key_proj, key_), apply_to_rows(self.value_proj, value)
        # The projections say how many heads there are: they may be of another class than `Linear`.
        kv_heads = k.shape[1] // self.qk_size if self.qk_size else self.num_heads
        return QKV(
            _split_heads(q, self.num_heads), _split_heads(k, kv_heads), _split_heads(v, kv_heads)
        )

    def _weight_dropout(self, inference: bool | None, key: Any) -> WeightDropout | None:
        """How weights are dropped; `None` if it is known that none will be."""
        flag: Any = self.dropout.inference if inference is None else inference
        if flag is True or (isinstance(self.dropout.p, float | int) and self.dropout.p == 0):
            return None
        keys = None if key is None else jr.split(key, self.num_heads)
        return WeightDropout(functools.partial(_drop, self.dropout, inference), keys)

    def _check_inputs(self, query: Array, key_: Array, value: Array) -> None:
        """Refuses arrays that are not of the shapes of `__call__`."""
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

    def _check_per_head(self, name: str, x: Any, shape: tuple[int, ...]) -> Any:
        """`x` as an array. It must be of `shape`, or of `shape[1:]`: the same for all heads."""
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


def _split_heads(x: Array, heads: int) -> Array:
    """`(length, heads * size)` as `(length, heads, size)`."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads)


def _drop(dropout: Dropout, inference: Any, weights: Array, key: Any) -> Array:
    """Drops weights of one head; an error for a missing key says where the key belongs."""
    try:
        return dropout(weights, key=key, inference=inference)
    except RuntimeError as error:
        if key is None:
            error.add_note(
                "This was in MultiheadAttention.dropout, so it is "
                "`attention(query, key_, value, key=key)`."
            )
        raise


def _process(process: ProcessHeads, qkv: QKV) -> QKV:
    """What `process_heads` returns, which must be of the shapes that it was given."""
    new = process(*qkv)
    given, returned = [x.shape for x in qkv], [x.shape for x in new]
    if given != returned:
        raise ShapeError(
            f"`MultiheadAttention`: `process_heads` must not change the shape of the heads: it was "
            f"called on {given} and returned {returned}."
        )
    return QKV(*new)
