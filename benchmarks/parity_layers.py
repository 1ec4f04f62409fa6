"""Compare our layers with Equinox's, number by number.

    python benchmarks/parity_layers.py [--verbose] [--only REGEX]

Each side builds every layer of a grid of options from the same key, in a process of its own, and
writes down: the parameters with their key paths, the static fields, the printed tree, the outputs,
the gradients with respect to parameters and input; or the type of the error. Then the two are
compared: exactly, but for gradients and outputs that may differ in the last bits. Runs where
Equinox is installed (the `bench` environment); exits with 1 if anything differs that is not listed
in `KNOWN`.
"""

import argparse
import importlib
import itertools
import os
import pickle
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Build = Callable[[Any], Any]
Subject = tuple[str, Build, Any]  # name, layers -> layer, input

# Where ours is meant to differ: beginning of the name, what differs, and why.
KNOWN = {
    ("error Linear", "outcome"): "a wrong shape is a ShapeError, before any product is computed",
    ("error MLP", "outcome"): "the same",
    ("error Conv", "outcome"): "the same; sizes are checked when the layer is made",
    ("error MaxPool", "outcome"): "the same; the peer raises AssertionError",
    ("MaxPool1d", "outcome"): "use_ceil works too where the stride is larger than the padded rest",
    ("AvgPool1d", "outcome"): "the same",
    ("error LayerNorm", "outcome"): "a ShapeError, which is a ValueError",
    ("Dropout 1.0", "gradients"): "0 instead of NaN",
    ("error RMSNorm", "outcome"): "the same",
    ("error GroupNorm shape", "outcome"): "the same",
    ("error GRUCell", "outcome"): "the same",
    ("error LSTMCell", "outcome"): "a TypeError says that a pair is expected",
    ("PReLU 0.25 half", "gradients"): "that of the slope is summed in float32",
    ("error MultiheadAttention", "outcome"): "a ShapeError",
    ("RotaryPositionalEmbedding bfloat16", "output"): "products of bfloat16 tables in float32",
    ("AdaptiveAvgPool2d", "output"): "one mean a window instead of one a dimension: the last bit",
    ("AdaptiveAvgPool3d", "output"): "the same",
    ("AdaptivePool std", "output"): "the operation is applied once, also where the size divides",
    ("AdaptivePool std", "gradients"): "the same",
    ("error AdaptiveAvgPool1d", "outcome"): "a ShapeError",
    ("error PReLU", "outcome"): "a ShapeError",
    ("error Embedding batch", "outcome"): "a ShapeError",
    ("BatchNorm half", "output"): "the output has the dtype of the input",
    ("BatchNorm half", "gradients"): "the same",
    ("BatchNorm", "printed"): "there is one more option, `init_variance`",
    ("BatchNorm", "static"): "the same",
    ("error BatchNorm channels", "outcome"): "a ShapeError",
    ("error Dropout", "outcome"): "a probability outside [0, 1] is refused",
    ("WeightNorm", "printed"): "all instances hold one function which computes the norm",
    ("WeightNorm half", "output"): "norms in float32",
    ("WeightNorm half", "arrays"): "the same",
    ("WeightNorm half", "gradients"): "the same",
    ("SpectralNorm half", "output"): "the same",
    ("SpectralNorm half", "gradients"): "the same",
    ("SpectralNorm half", "arrays"): "the same",
    ("MLP", "printed"): "the default activations have names: no lambda",
    ("Sequential", "printed"): "the same",
    ("Lambda", "printed"): "the same",
}


def arrays(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    values = np.random.default_rng(len(shape) + sum(shape)).normal(size=shape)
    return values.astype(dtype)


def linears() -> Iterator[Subject]:
    sizes = [(3, 4), (7, 1), (64, 33), ("scalar", 4), (3, "scalar"), ("scalar", "scalar"), (0, 3)]
    for (i, o), bias in itertools.product(sizes, (True, False)):
        x = arrays() if i == "scalar" else arrays(i)
        yield f"Linear {i} {o} {bias}", lambda n, i=i, o=o, b=bias: n.Linear(i, o, b, key=KEY), x
    for dtype in ("float16", "bfloat16", "complex64"):
        x = arrays(5).astype(jnp.dtype(dtype))
        yield f"Linear {dtype}", lambda n, d=dtype: n.Linear(5, 6, dtype=jnp.dtype(d), key=KEY), x


def convs() -> Iterator[Subject]:
    grid = itertools.product(
        ("VALID", "SAME", "SAME_LOWER", "same", 0, 2, [1, 3], ((0, 1), (2, 0)), [(1, 2), (0, 0)]),
        ("ZEROS", "REFLECT", "replicate", "CIRCULAR"),
        (1, (2, 1), 3),
        (1, 2),
        (1, 2),
    )
    for pad, mode, stride, dilation, groups in itertools.islice(grid, 0, None, 5):  # 5 is coprime
        kwargs = {
            "padding": pad,
            "padding_mode": mode,
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
        }
        name = " ".join(map(str, kwargs.values()))
        kernel = (2, 3) if groups == 2 else 3
        yield (
            f"Conv2d {name}",
            lambda n, k=kernel, kw=kwargs: n.Conv2d(2, 4, k, key=KEY, **kw),
            arrays(2, 7, 8),
        )
    for dims, size in ((1, 9), (2, 6), (3, 5)):
        for kernel in (1, 2, 4):
            name = f"Conv{dims}d {kernel}"
            shape = (3,) + (size,) * dims
            yield (
                name,
                lambda n, d=dims, k=kernel: getattr(n, f"Conv{d}d")(3, 2, k, key=KEY),
                arrays(*shape),
            )
            yield (
                f"{name} general",
                lambda n, d=dims, k=kernel: n.Conv(d, 3, 2, k, padding=1, use_bias=False, key=KEY),
                arrays(*shape),
            )
    for dtype in ("float16", "bfloat16", "complex64"):
        x = arrays(2, 6, 6).astype(jnp.dtype(dtype))
        yield (
            f"Conv2d {dtype}",
            lambda n, d=dtype: n.Conv2d(2, 3, 3, dtype=jnp.dtype(d), key=KEY),
            x,
        )


def transposes() -> Iterator[Subject]:
    grid = itertools.product(
        ("VALID", "SAME", "SAME_LOWER", "same", 0, 1, ((0, 1),)),
        (1, 2, 3),
        (0, 1, 2),
        (1, 2),
        (2, 3),
    )
    for pad, stride, more, dilation, kernel in itertools.islice(grid, 0, None, 5):
        if more >= stride:
            continue
        own = {"padding": pad, "stride": stride, "output_padding": more, "dilation": dilation}
        yield (
            f"ConvTranspose1d {kernel} {' '.join(map(str, own.values()))}",
            lambda n, k=kernel, o=own: n.ConvTranspose1d(2, 4, k, groups=2, key=KEY, **o),
            arrays(2, 5),
        )
    for pad, stride, dilation, kernel in itertools.product(
        ("SAME", "SAME_LOWER"), (1, 2, 3), (1, 2), (2, 3, 5)
    ):
        own = {"padding": pad, "stride": stride, "dilation": dilation, "padding_mode": "CIRCULAR"}
        yield (
            f"ConvTranspose1d circular {kernel} {pad} {stride} {dilation}",
            lambda n, k=kernel, o=own: n.ConvTranspose1d(2, 4, k, key=KEY, **o),
            arrays(2, 5),
        )
    for dims in (1, 2, 3):
        shape = (3,) + (4,) * dims
        yield (
            f"ConvTranspose{dims}d",
            lambda n, d=dims: getattr(n, f"ConvTranspose{d}d")(3, 2, 3, 2, 1, 1, key=KEY),
            arrays(*shape),
        )
        yield (
            f"ConvTranspose {dims}",
            lambda n, d=dims: n.ConvTranspose(d, 3, 2, 3, 2, 1, 1, use_bias=False, key=KEY),
            arrays(*shape),
        )
    own = {"padding_mode": "CIRCULAR", "key": KEY}
    yield "error ConvTranspose1d mode", lambda n: n.ConvTranspose1d(2, 4, 3, **own), arrays(2, 5)
    own = {"output_padding": 1, "key": KEY}
    yield "error ConvTranspose1d more", lambda n: n.ConvTranspose1d(2, 4, 3, **own), arrays(2, 5)
    yield "error ConvTranspose1d channels", lambda n: n.ConvTranspose1d(2, 4, 3, key=KEY), arrays(3)


def adaptives() -> Iterator[Subject]:
    for kind, n, k in itertools.product(("Avg", "Max"), (5, 6, 8), (1, 2, 3, 5)):
        make = f"Adaptive{kind}Pool1d"
        yield f"{make} {n} {k}", lambda n, m=make, k=k: getattr(n, m)(k), arrays(2, n)
    for kind, dims in itertools.product(("Avg", "Max"), (2, 3)):
        make = f"Adaptive{kind}Pool{dims}d"
        yield make, lambda n, m=make: getattr(n, m)(2), arrays(2, *(4, 5, 6)[:dims])
    yield "AdaptivePool std", lambda n: n.AdaptivePool(2, 1, jnp.std), arrays(2, 6)
    yield "error AdaptiveAvgPool1d small", lambda n: n.AdaptiveAvgPool1d(5), arrays(1, 3)
    yield "error AdaptiveAvgPool1d size", lambda n: n.AdaptiveAvgPool1d((2, 3)), arrays(1, 5)


def pools() -> Iterator[Subject]:
    kinds = ("MaxPool", "AvgPool")
    for kind, kernel, stride, pad, ceil in itertools.product(
        kinds, (1, 2, 4), (1, 2, 3), (0, 1, 2, ((0, 1),)), (False, True)
    ):
        name = f"{kind}1d {kernel} {stride} {pad} {ceil}"
        for size in (6, 7):
            yield (
                f"{name} on {size}",
                lambda n, k=kind, a=(kernel, stride, pad, ceil): getattr(n, f"{k}1d")(*a),
                arrays(2, size),
            )
    for kind in kinds:
        yield (
            f"{kind}2d",
            lambda n, k=kind: getattr(n, f"{k}2d")((2, 3), 2, (1, 0)),
            arrays(2, 5, 6),
        )
        yield f"{kind}3d", lambda n, k=kind: getattr(n, f"{k}3d")(2, 2), arrays(2, 4, 4, 5)
        for dtype in ("bfloat16", "int32"):
            x = (10 * arrays(2, 5, 6)).astype(jnp.dtype(dtype))
            yield f"{kind}2d {dtype}", lambda n, k=kind: getattr(n, f"{k}2d")(2), x
    yield "Pool add", lambda n: n.Pool(0, jax.lax.add, 1, 2, padding=1), arrays(2, 6)
    yield "Pool min", lambda n: n.Pool(jnp.inf, jax.lax.min, 1, 3, 2), arrays(2, 6)


def others() -> Iterator[Subject]:
    for shape, weight, bias in itertools.product(((4,), (2, 3), ()), (True, False), (True, False)):
        yield (
            f"LayerNorm {shape} {weight} {bias}",
            lambda n, a=(shape, 1e-4, weight, bias): n.LayerNorm(*a),
            arrays(*shape),
        )
    for own, given in itertools.product(("float32", "bfloat16", "float16"), repeat=2):
        yield (
            f"LayerNorm {own} on {given}",
            lambda n, d=own: n.LayerNorm(8, dtype=jnp.dtype(d)),
            (50 * arrays(8)).astype(jnp.dtype(given)),
        )
    for p in (0.0, 0.3, 0.5, 1.0, jnp.float32(0.2)):
        yield f"Dropout {p}", lambda n, p=p: n.Dropout(p), arrays(5, 6)
    yield "Dropout inference", lambda n: n.Dropout(0.4, inference=True), arrays(5)
    for depth, scan, bias in itertools.product((0, 1, 2, 4), (False, True), (True, False)):
        yield (
            f"MLP {depth} {scan} {bias}",
            lambda n, d=depth, s=scan, b=bias: n.MLP(3, 2, 5, d, use_bias=b, scan=s, key=KEY),
            arrays(3),
        )
    yield (
        "MLP scalar",
        lambda n: n.MLP("scalar", "scalar", 4, 2, jnp.tanh, jnp.exp, key=KEY),
        arrays(),
    )
    yield (
        "Sequential",
        lambda n: n.Sequential(
            [n.Linear(3, 4, key=KEY), n.Lambda(jnp.tanh), n.Dropout(0.4), n.Dropout(0.4)]
        ),
        arrays(3),
    )
    yield "Sequential sliced", lambda n: n.Sequential([n.Identity(), n.Dropout()])[1:], arrays(3)
    yield "Sequential empty", lambda n: n.Sequential([]), arrays(3)
    yield "Identity", lambda n: n.Identity(1, a=2), arrays(3)
    yield "Lambda", lambda n: n.Lambda(jnp.sin), arrays(3)
    yield (
        "inference_mode",
        lambda n: n.inference_mode(n.Sequential([n.Dropout(), n.Sequential([n.Dropout()])])),
        arrays(3),
    )


def norms() -> Iterator[Subject]:
    for own, given in itertools.product(("float32", "bfloat16", "float16"), repeat=2):
        x = (50 * arrays(8)).astype(jnp.dtype(given))
        yield f"RMSNorm {own} on {given}", lambda n, d=own: n.RMSNorm(8, dtype=jnp.dtype(d)), x
        yield (
            f"GroupNorm {own} on {given}",
            lambda n, d=own: n.GroupNorm(2, 8, dtype=jnp.dtype(d)),
            x,
        )
    for shape, weight, bias in itertools.product(((4,), (2, 3)), (True, False), (True, False)):
        yield (
            f"RMSNorm {shape} {weight} {bias}",
            lambda n, a=(shape, 1e-4, weight, bias): n.RMSNorm(*a),
            arrays(*shape),
        )
    for groups, shape, affine in itertools.product(
        (1, 2, 4), ((4,), (4, 5), (4, 3, 2)), (True, False)
    ):
        yield (
            f"GroupNorm {groups} {shape} {affine}",
            lambda n, a=(groups, 4 if affine else None, 1e-4, affine): n.GroupNorm(*a),
            arrays(*shape),
        )
    yield "error RMSNorm shape", lambda n: n.RMSNorm(3), arrays(2, 3)
    yield "error GroupNorm divides", lambda n: n.GroupNorm(2, 3), arrays(3)
    yield "error GroupNorm channels", lambda n: n.GroupNorm(2), arrays(4)
    yield "error GroupNorm shape", lambda n: n.GroupNorm(2, 4), arrays(3, 5)


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
    for where, get in (("weight", lambda w: w), ("weight", lambda w: 2 * w)):
        yield (
            f"Shared {where}",
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


def errors() -> Iterator[Subject]:
    x = arrays(3)
    yield "error LayerNorm shape", lambda n: n.LayerNorm(3), arrays(2, 3)
    yield "error LayerNorm size", lambda n: n.LayerNorm(4), x
    yield "error Conv2d rank", lambda n: n.Conv2d(3, 2, 3, key=KEY), arrays(1, 3, 5, 5)
    yield "error Conv2d channels", lambda n: n.Conv2d(3, 2, 3, key=KEY), arrays(2, 5, 5)
    yield "error Conv2d groups", lambda n: n.Conv2d(3, 2, 3, groups=2, key=KEY), x
    yield "error Conv2d out groups", lambda n: n.Conv2d(2, 3, 3, groups=2, key=KEY), x
    yield "error Conv2d padding", lambda n: n.Conv2d(3, 2, 3, padding="ODD", key=KEY), x
    yield "error Conv2d padding length", lambda n: n.Conv2d(3, 2, 3, padding=(1, 1, 1), key=KEY), x
    yield "error Conv2d mode", lambda n: n.Conv2d(3, 2, 3, padding_mode="ODD", key=KEY), x
    yield "error Conv2d kernel", lambda n: n.Conv2d(3, 2, (3, 3, 3), key=KEY), x
    yield "error Conv2d dtype", lambda n: n.Conv2d(3, 2, 3, key=KEY), arrays(3, 5, 5, dtype="i4")
    yield "error Linear size", lambda n: n.Linear(4, 2, key=KEY), x
    yield "error Linear batch", lambda n: n.Linear(3, 2, key=KEY), arrays(5, 3)
    yield "error Linear scalar", lambda n: n.Linear("scalar", 2, key=KEY), x
    yield "error Linear negative", lambda n: n.Linear(-1, 2, key=KEY), x
    yield "error Linear float", lambda n: n.Linear(3.0, 2, key=KEY), x
    yield "error Linear word", lambda n: n.Linear("word", 2, key=KEY), x
    yield "error Linear no key", lambda n: n.Linear(3, 2), x
    yield "error Linear key None", lambda n: n.Linear(3, 2, key=None), x
    yield "error MaxPool2d rank", lambda n: n.MaxPool2d(2), arrays(1, 2, 5, 5)
    yield "error MaxPool2d kernel", lambda n: n.MaxPool2d(2.5), x
    yield "error MaxPool2d padding", lambda n: n.MaxPool2d(2, padding="SAME"), x
    yield "error MaxPool1d wide padding", lambda n: n.MaxPool1d(2, padding=3), arrays(2, 6)
    yield "error Dropout no key", lambda n: lambda x, key: n.Dropout()(x), x
    yield "error Dropout p", lambda n: n.Dropout(1.5), x
    yield "error MLP size", lambda n: n.MLP(4, 2, 3, 1, key=KEY), x
    yield "error Sequential index", lambda n: n.Sequential([])[3], x
    yield "error Sequential word", lambda n: n.Sequential([])["a"], x


KEY = jax.random.PRNGKey(5)


def examine(build: Build, x: Any, nn: Any, tree_pformat: Any) -> dict[str, Any]:
    try:
        layer = build(nn)
        y = layer(jnp.asarray(x), key=jax.random.PRNGKey(7))
    except Exception as error:
        return {"outcome": type(error).__name__}
    inner = layer.layer if isinstance(layer, Bound) else layer
    found: dict[str, Any] = {"outcome": "ok", "output": y, "printed": tree_pformat(inner)}
    leaves, treedef = jax.tree_util.tree_flatten_with_path(layer)
    is_array = [isinstance(leaf, jax.Array) for _, leaf in leaves]
    found["paths"] = [jax.tree_util.keystr(path) for path, _ in leaves]
    found["arrays"] = [leaf for (_, leaf), yes in zip(leaves, is_array, strict=True) if yes]
    found["others"] = [
        repr(leaf).split(" at 0x")[0]
        for (_, leaf), yes in zip(leaves, is_array, strict=True)
        if not yes and not callable(leaf)
    ]
    static = {
        name: getattr(inner, name)
        for name, field in getattr(inner, "__dataclass_fields__", {}).items()
        if field.metadata.get("static")
    }
    found["static"] = repr(static)
    fill = [leaf for _, leaf in leaves]

    def loss(own: list[Any], x: Any) -> Any:
        own_iterator = iter(own)
        full = [next(own_iterator) if yes else f for f, yes in zip(fill, is_array, strict=True)]
        y = treedef.unflatten(full)(x, key=jax.random.PRNGKey(7))
        return jnp.sum(jnp.abs(jnp.sin(y))).astype(jnp.float32)

    # Each gradient is compiled, which takes most of the time: every other subject has one.
    chosen = isinstance(layer, Bound) or len(found["static"]) % 2 == 0
    if jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact) and chosen:
        try:
            found["gradients"] = jax.grad(loss, argnums=(0, 1))(found["arrays"], jnp.asarray(x))
        except Exception as error:
            found["gradients"] = type(error).__name__
    return found


def write(side: str, file: Path, only: str) -> None:
    eqx = importlib.import_module("equinoctial" if side == "ours" else "equinox")
    warnings.simplefilter("ignore")
    subjects = itertools.chain(
        linears(),
        convs(),
        pools(),
        others(),
        norms(),
        units(),
        stateful(),
        attentions(),
        transposes(),
        adaptives(),
        wrappers(),
        errors(),
    )
    found = {
        name: examine(build, x, eqx.nn, eqx.tree_pformat)
        for name, build, x in subjects
        if re.search(only, name)
    }
    as_numpy = jax.tree.map(lambda v: np.asarray(v) if isinstance(v, jax.Array) else v, found)
    file.write_bytes(pickle.dumps(as_numpy))


def same(ours: Any, peers: Any, tolerance: float) -> bool:
    a, b = jax.tree.flatten(ours), jax.tree.flatten(peers)
    if a[1] != b[1]:
        return False
    for x, y in zip(a[0], b[0], strict=True):
        if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
            if x.dtype != y.dtype or x.shape != y.shape:
                return False
            wide = np.complex128 if np.iscomplexobj(x) else np.float64
            near = tolerance * (float(jnp.finfo(x.dtype).eps) if tolerance else 0)
            if not np.allclose(x.astype(wide), y.astype(wide), near, near, equal_nan=True):
                return False
        elif x != y:
            return False
    return True


# In units of the dtype's precision; 0 is bit for bit.
TOLERANCES = {"output": 0, "gradients": 16}


def compare(ours: dict[str, Any], peers: dict[str, Any], verbose: bool) -> int:
    differing, known = 0, 0
    for name in ours:
        for key in ours[name].keys() | peers[name].keys():
            mine, theirs = ours[name].get(key), peers[name].get(key)
            if same(mine, theirs, TOLERANCES.get(key, 0)):
                continue
            if ours[name]["outcome"] != peers[name]["outcome"] and key != "outcome":
                continue
            reason = next(
                (why for (start, k), why in KNOWN.items() if name.startswith(start) and k == key),
                None,
            )
            known += reason is not None
            differing += reason is None
            if reason is None or verbose:
                print(f"{name}: {key} differs{f' ({reason})' if reason else ''}")
                print(f"  ours: {str(mine)[:400]}\n  peer: {str(theirs)[:400]}")
    print(f"{len(ours)} subjects: {differing} unexpected differences, {known} known ones")
    return differing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="print the known differences too")
    parser.add_argument("--write", nargs=2, metavar=("SIDE", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument(
        "--only", default="", help="subjects whose name has this regular expression"
    )
    options = parser.parse_args()
    if options.write:
        write(options.write[0], Path(options.write[1]), options.only)
        return 0
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("ours", "peer"):
            file = Path(folder) / side
            command = [sys.executable, __file__, "--only", options.only, "--write", side, str(file)]
            subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
            results[side] = pickle.loads(file.read_bytes())
    return 1 if compare(results["ours"], results["peer"], options.verbose) else 0


if __name__ == "__main__":
    sys.exit(main())
