"""The subjects of `layer_numbers.py` that take more than an array: a state, keys, a hidden one."""

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from layer_subjects import KEY, Build, Subject, arrays


@jax.tree_util.register_pytree_with_keys_class
class Bound:
    """A layer with further arguments."""

    def __init__(self, layer: Any, more: tuple[Any, ...]):
        self.layer, self.more = layer, more

    def __call__(self, x: Any, *, key: Any) -> Any:
        y = self.layer(x, *self.more, key=key)
        return jnp.concatenate(y) if isinstance(y, tuple) else y

    def tree_flatten_with_keys(self) -> Any:
        return ((jax.tree_util.GetAttrKey("layer"), self.layer),), self.more

    def tree_flatten(self) -> Any:
        return (self.layer,), self.more

    @classmethod
    def tree_unflatten(cls, more: Any, layer: Any) -> Any:
        return cls(layer[0], more)


class Trained(Bound):
    """A layer with a state: two steps of training, then inference."""

    def __call__(self, x: Any, *, key: Any) -> Any:
        leaves, treedef = jax.tree.flatten(self.more)
        state = treedef.unflatten(leaves)  # a state can be used once
        outs = []
        for i, inference in enumerate((True, False, False, True)):

            def call(x: Any, state: Any, inference: bool = inference) -> Any:
                return self.layer(x, state, key=key, inference=inference)

            y, state = jax.vmap(call, (0, None), (0, None), axis_name="b")(x * (i + 1), state)
            outs += [y, *jax.tree.leaves(state)]
        return jnp.concatenate([out.astype("f4").ravel() for out in outs])


jax.tree_util.register_pytree_with_keys_class(Trained)


class Attending(Bound):
    """Attention to given keys and values."""

    def __call__(self, x: Any, *, key: Any) -> Any:
        rest, inference = self.more
        rest = [jnp.asarray(r) for r in rest]
        return self.layer(x, *rest, key=key, inference=inference)


jax.tree_util.register_pytree_with_keys_class(Attending)


class WithoutKey(Bound):
    """A layer that takes no key at the peer."""

    def __init__(self, layer: Any, more: Any = ()):
        super().__init__(layer, more)

    def __call__(self, x: Any, *, key: Any) -> Any:
        return self.layer(x)


jax.tree_util.register_pytree_with_keys_class(WithoutKey)


class Opened(Bound):
    """A `Shared`, opened and called."""

    def __call__(self, x: Any, *, key: Any) -> Any:
        embedding, linear = self.layer()
        return linear(embedding(1) + x)


jax.tree_util.register_pytree_with_keys_class(Opened)


def units() -> Iterator[Subject]:
    def on(make: Build, *more: Any) -> Build:
        """A cell takes further arguments: bound here."""
        return lambda n: Bound(make(n), more)

    h, c = arrays(4), 2 * arrays(4)
    for bias, dtype in itertools.product((True, False), ("float32", "float16", "complex64")):
        own = {"use_bias": bias, "dtype": jnp.dtype(dtype), "key": KEY}
        x, s, m = (v.astype(jnp.dtype(dtype)) for v in (arrays(3), h, c))
        yield f"GRUCell {bias} {dtype}", on(lambda n, o=own: n.GRUCell(3, 4, **o), s), x
        yield f"LSTMCell {bias} {dtype}", on(lambda n, o=own: n.LSTMCell(3, 4, **o), (s, m)), x
    yield "error GRUCell input", on(lambda n: n.GRUCell(3, 4, key=KEY), h), arrays(5)
    yield "error LSTMCell state", on(lambda n: n.LSTMCell(3, 4, key=KEY), h), arrays(3)
    for slope in (0.25, jnp.float32(0.1), jnp.arange(3.0)):
        name = f"PReLU {slope}"
        yield name, lambda n, s=slope: WithoutKey(n.PReLU(s)), arrays(2, 3)
        yield f"{name} half", lambda n, s=slope: WithoutKey(n.PReLU(s)), arrays(3, dtype="f2")
    yield "PReLU default", lambda n: WithoutKey(n.PReLU()), arrays(3)
    yield "error PReLU", lambda n: WithoutKey(n.PReLU(jnp.ones(2))), arrays(3)
    for i in (0, 3, 9, -1, -9):
        yield f"Embedding {i}", lambda n: n.Embedding(5, 3, key=KEY), np.int32(i)
    half = {"dtype": jnp.float16, "key": KEY}
    yield "Embedding half", lambda n: n.Embedding(5, 3, **half), np.int32(2)
    yield "Embedding weight", lambda n: n.Embedding(weight=jnp.ones((2, 3))), np.int32(1)
    yield "error Embedding weight", lambda n: n.Embedding(5, 3, jnp.ones((2, 3))), np.int32(1)
    yield "error Embedding none", lambda n: n.Embedding(5, key=KEY), np.int32(1)
    yield "error Embedding float", lambda n: n.Embedding(5, 3, key=KEY), np.float32(1)
    yield "error Embedding batch", lambda n: n.Embedding(5, 3, key=KEY), np.arange(2)


def wrappers() -> Iterator[Subject]:
    for axis in (0, 1, None, -1):
        yield (
            f"WeightNorm {axis}",
            lambda n, a=axis: n.WeightNorm(n.Linear(3, 4, key=KEY), axis=a),
            arrays(3),
        )
        yield (
            f"WeightNorm Conv2d {axis}",
            lambda n, a=axis: n.WeightNorm(n.Conv2d(2, 4, 3, key=KEY), "weight", a),
            arrays(2, 5, 5),
        )
    half = {"dtype": jnp.float16, "key": KEY}
    yield "WeightNorm half", lambda n: n.WeightNorm(n.Linear(3, 4, **half)), arrays(3, dtype="f2")
    bias = {"weight_name": "bias", "axis": None}
    yield "WeightNorm bias", lambda n: n.WeightNorm(n.Linear(3, 4, key=KEY), **bias), arrays(3)
    yield "error WeightNorm name", lambda n: n.WeightNorm(n.Linear(3, 4, key=KEY), "w"), arrays(3)
    linear = {"make": lambda n: n.Linear(3, 4, key=KEY), "x": arrays(5, 3)}
    conv = {"make": lambda n: n.Conv2d(2, 4, 3, key=KEY), "x": arrays(3, 2, 5, 5)}
    for name, own in (("Linear", linear), ("Conv2d", conv)):
        for count in (0, 1, 3):

            def make(n: Any, own: Any = own, count: int = count) -> Any:
                layer = own["make"](n)
                made = n.make_with_state(n.SpectralNorm)(layer, "weight", count, key=KEY)
                return Trained(*made)

            yield f"SpectralNorm {name} {count}", make, own["x"]
    for how, get in (("plain", lambda w: w), ("doubled", lambda w: 2 * w)):
        yield (
            f"Shared {how}",
            lambda n, g=get: Opened(
                n.Shared(
                    (n.Embedding(4, 3, key=KEY), n.Linear(3, 4, key=KEY)),
                    lambda pair: pair[1].weight,
                    lambda pair: g(pair[0].weight),
                ),
                (),
            ),
            arrays(3),
        )


def stateful() -> Iterator[Subject]:
    def made(mode: str, **own: Any) -> Build:
        return lambda n: Trained(*n.make_with_state(n.BatchNorm)(3, "b", mode=mode, **own))

    for mode, shape in itertools.product(("ema", "batch"), ((4, 3), (4, 3, 2), (4, 3, 2, 5))):
        yield f"BatchNorm {mode} {shape}", made(mode), arrays(*shape)
        own = {"momentum": 0.7, "eps": 1e-3, "channelwise_affine": False}
        yield f"BatchNorm {mode} {shape} plain", made(mode, **own), arrays(*shape)
    yield "BatchNorm half", made("batch"), arrays(4, 3, dtype="f2")
    yield "error BatchNorm mode", made("word"), arrays(4, 3)
    yield "error BatchNorm channels", made("batch"), arrays(4, 2)
    yield "error BatchNorm axis", lambda n: Bound(*one(n)), arrays(3)

    def one(n: Any) -> Any:
        layer, state = n.make_with_state(n.BatchNorm)(3, "b", mode="ema")
        return layer, (state,)


def attentions() -> Iterator[Subject]:
    q, k, v = arrays(3, 4), arrays(6, 3), arrays(6, 5)
    sizes = dict(
        zip(("key_size", "value_size", "output_size", "qk_size"), (3, 5, 6, 7), strict=True)
    )
    biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}

    def call(*rest: Any, inference: bool | None = None, **own: Any) -> Build:
        return lambda n: Attending(n.MultiheadAttention(2, 4, key=KEY, **own), (rest, inference))

    ones = np.ones((3, 6), bool)
    mask = np.tril(ones, 2)
    yield "MultiheadAttention", call(q, q), q
    for name, m in (("", None), ("mask", mask), ("heads", np.stack([mask, ones])), ("none", ~ones)):
        rest = (k, v) if m is None else (k, v, m)
        yield f"MultiheadAttention sizes {name}", call(*rest, **sizes, **biases, vo_size=8), q
    drop = {"dropout_p": 0.4, **sizes}
    yield "MultiheadAttention dropout", call(k, v, **drop), q
    yield "MultiheadAttention inference", call(k, v, inference=True, **drop), q
    for dtype in ("float16", "bfloat16"):
        x = q.astype(jnp.dtype(dtype))
        yield f"MultiheadAttention {dtype}", call(x, x, dtype=jnp.dtype(dtype)), x
    for name, rest in (("length", (k, v[:3])), ("size", (k[:, :2], v)), ("mask", (k, v, ones.T))):
        yield f"error MultiheadAttention {name}", call(*rest, **sizes), q
    for length, width, theta in ((3, 4, 1e4), (5, 8, 1e4), (7, 2, 1e4), (0, 6, 1e4), (4, 10, 10.0)):
        yield (
            f"RotaryPositionalEmbedding {length} {width} {theta}",
            lambda n, a=(width, theta): n.RotaryPositionalEmbedding(*a),
            arrays(length, width),
        )
    for dtype in ("float16", "bfloat16", "float32"):
        yield (
            f"RotaryPositionalEmbedding {dtype}",
            lambda n, d=dtype: n.RotaryPositionalEmbedding(6, dtype=jnp.dtype(d)),
            arrays(4, 6).astype(jnp.bfloat16),
        )
    yield "error RotaryPositionalEmbedding", lambda n: n.RotaryPositionalEmbedding(3), q
