"""The model that the cases share: 12 transformer blocks, 144 arrays in 192 leaves.

`build(namespace)` defines the classes on the namespace's `Module` and `field`, so ours and the
peer's are the same model. Everything a layer usually carries is there: static sizes and flags, an
activation function and numbers as leaves. The arrays are small, so that overhead shows.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BLOCKS, DIM, HEADS, SEQUENCE = 12, 8, 2, 4


def classes(namespace: Any) -> tuple[type, ...]:
    """The classes of the model, defined on `namespace.Module` and `namespace.field`."""
    Module, field = namespace.Module, namespace.field

    class Linear(Module):
        weight: jax.Array
        bias: jax.Array | None
        in_features: int = field(static=True)
        out_features: int = field(static=True)
        use_bias: bool = field(static=True)

        def __call__(self, x):
            y = self.weight @ x
            return y if self.bias is None else y + self.bias

    class LayerNorm(Module):
        weight: jax.Array
        bias: jax.Array
        shape: tuple[int, ...] = field(static=True)
        eps: float = field(static=True)

        def __call__(self, x):
            centred = x - x.mean()
            return self.weight * centred * jax.lax.rsqrt(x.var() + self.eps) + self.bias

    class Attention(Module):
        query: Linear
        key: Linear
        value: Linear
        output: Linear
        scale: float
        dropout: float
        inference: bool
        num_heads: int = field(static=True)

        def __call__(self, x):
            q, k, v = (self.heads(layer, x) for layer in (self.query, self.key, self.value))
            weights = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", q, k) * self.scale)
            mixed = jnp.einsum("hqk,khd->qhd", weights, v)
            return jax.vmap(self.output)(mixed.reshape(x.shape))

        def heads(self, layer, x):
            return jax.vmap(layer)(x).reshape(x.shape[0], self.num_heads, -1)

    class MLP(Module):
        up: Linear
        down: Linear
        activation: Callable[[jax.Array], jax.Array]

        def __call__(self, x):
            return self.down(self.activation(self.up(x)))

    class Block(Module):
        norm1: LayerNorm
        attention: Attention
        norm2: LayerNorm
        mlp: MLP
        index: int = field(static=True)

        def __call__(self, x):
            x = x + self.attention(jax.vmap(self.norm1)(x))
            return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))

    class Transformer(Module):
        blocks: tuple[Block, ...]

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return x.mean()

    return Linear, LayerNorm, Attention, MLP, Block, Transformer


def build(namespace: Any, blocks: int = BLOCKS, dim: int = DIM) -> Any:
    """The model on a namespace with `Module` and `field`, with the same numbers every time."""
    Linear, LayerNorm, Attention, MLP, Block, Transformer = classes(namespace)
    rng = np.random.default_rng(0)

    def array(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape) / math.sqrt(shape[-1]), jnp.float32)

    def linear(n: int, m: int, bias: bool) -> Any:
        return Linear(array(m, n), array(m) if bias else None, n, m, bias)

    def norm() -> Any:
        return LayerNorm(jnp.ones(dim), jnp.zeros(dim), (dim,), 1e-5)

    def attention() -> Any:
        projections = (linear(dim, dim, False) for _ in range(4))
        return Attention(*projections, 1 / math.sqrt(dim // HEADS), 0.1, False, HEADS)

    def mlp() -> Any:
        return MLP(linear(dim, 4 * dim, True), linear(4 * dim, dim, True), jax.nn.gelu)

    model = Transformer(tuple(Block(norm(), attention(), norm(), mlp(), i) for i in range(blocks)))
    leaves = jax.tree.leaves(model)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    assert (len(leaves), len(arrays)) == (16 * blocks, 12 * blocks)
    return model


def batch() -> jax.Array:
    """One input of the model."""
    return jnp.asarray(np.random.default_rng(1).standard_normal((SEQUENCE, DIM)), jnp.float32)
