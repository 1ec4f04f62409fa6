"""Layers are exported with sizes left open, and compute the same for each size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from nn_layers import (
    MLP,
    RNN,
    AdaptiveAvgPool2d,
    AvgPool1d,
    BatchNorm,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    Dropout,
    Embedding,
    GroupNorm,
    LayerNorm,
    Linear,
    LSTMCell,
    MaxPool2d,
    MultiheadAttention,
    PReLU,
    RMSNorm,
    RotaryPositionalEmbedding,
    Stacked,
    WeightNorm,
    inference_mode,
    make_with_state,
)

KEY = jax.random.key(0)
NORM, STATE = make_with_state(BatchNorm)(3, "batch", mode="batch")
ATTENTION = MultiheadAttention(2, 4, key=KEY)

# name -> a function and the shape of its argument, with names for the sizes that are open.
SUBJECTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "Linear": (jax.vmap(Linear(3, 4, key=KEY)), ("n", 3)),
    "MLP": (jax.vmap(MLP(3, 4, 8, 2, key=KEY)), ("n", 3)),
    "Conv1d, its length": (Conv1d(3, 4, 3, key=KEY), (3, "n")),
    "Conv2d, same size": (Conv2d(3, 4, 3, padding="SAME", key=KEY), (3, "n", "n")),
    "Conv2d, its strides": (Conv2d(3, 4, 3, stride=2, padding=1, key=KEY), (3, "n", "m")),
    "Conv2d, a batch": (jax.vmap(Conv2d(3, 4, 3, key=KEY)), ("n", 3, 8, 8)),
    "ConvTranspose1d": (ConvTranspose1d(3, 4, 3, key=KEY), (3, "n")),
    "MaxPool2d": (MaxPool2d(2, 2), (3, "n", "m")),
    "AvgPool1d": (AvgPool1d(3, 2, use_ceil=True), (3, "n")),
    "AdaptiveAvgPool2d": (jax.vmap(AdaptiveAvgPool2d(2)), ("n", 3, 8, 8)),
    "LayerNorm": (jax.vmap(LayerNorm(3)), ("n", 3)),
    "RMSNorm": (jax.vmap(RMSNorm(3)), ("n", 3)),
    "GroupNorm": (GroupNorm(2, 4), (4, "n")),
    "BatchNorm": (jax.vmap(lambda x: inference_mode(NORM)(x, STATE)[0]), ("n", 3, "m")),
    "Embedding": (lambda x: jax.vmap(Embedding(5, 3, key=KEY))(x.astype(int)), ("n",)),
    "RotaryPositionalEmbedding": (RotaryPositionalEmbedding(4), ("n", 4)),
    "attention": (lambda x: ATTENTION(x, x, x), ("n", 4)),
    "causal attention": (lambda x: ATTENTION(x, x, x, is_causal=True), ("n", 4)),
    "masked attention": (
        lambda x: ATTENTION(x, x, x, mask=jnp.tri(x.shape[0], dtype=bool)),
        ("n", 4),
    ),
    "attention, a batch": (jax.vmap(lambda x: ATTENTION(x, x, x)), ("n", 7, 4)),
    "Dropout": (lambda x: Dropout(0.5)(x, key=KEY), ("n",)),
    "PReLU": (PReLU(), ("n",)),
    "WeightNorm": (jax.vmap(WeightNorm(Linear(3, 4, key=KEY))), ("n", 3)),
    "RNN": (RNN(LSTMCell(3, 4, key=KEY)), ("n", 3)),
    "Stacked": (jax.vmap(Stacked(lambda key: Linear(3, 3, key=key), 3, key=KEY)), ("n", 3)),
}


# https://github.com/patrick-kidger/equinox/issues/664
@pytest.mark.parametrize("name", SUBJECTS)
def test_open_sizes(name: str):
    function, shape = SUBJECTS[name]
    names = sorted({size for size in shape if isinstance(size, str)})
    least = [f"{each} >= 4" for each in names]
    sizes = dict(
        zip(names, export.symbolic_shape(", ".join(names), constraints=least), strict=True)
    )
    example = jax.ShapeDtypeStruct(tuple(sizes.get(s, s) for s in shape), jnp.float32)
    exported = export.export(jax.jit(lambda x: function(x)))(example)
    for n in (4, 9):
        actual = tuple({"n": n, "m": n + 1}.get(s, s) for s in shape)
        x = jnp.linspace(0.1, 3.9, int(np.prod(actual))).reshape(actual)
        np.testing.assert_allclose(exported.call(x), function(x), rtol=1e-5, atol=1e-6)
