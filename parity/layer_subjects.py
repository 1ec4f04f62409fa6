"""The subjects of `layer_numbers.py` that are called on one array, over a grid of options."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Build = Callable[[Any], Any]
Subject = tuple[str, Build, Any]  # name, layers -> layer, input

KEY = jax.random.PRNGKey(5)


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
