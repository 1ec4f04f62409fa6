import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

import equinoctial as eqx

WIDTH, HEADS, BLOCKS = 128, 4, 4


class Block(eqx.Module):
    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP

    def __init__(self, key):
        k1, k2 = jax.random.split(key)
        self.norm1, self.norm2 = eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH)
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=k1)
        self.mlp = eqx.nn.MLP(
            WIDTH, WIDTH, 4 * WIDTH, 1, use_bias=False, use_final_bias=False, key=k2
        )

    def __call__(self, x):
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))


def make(key):
    return [Block(key) for key in jax.random.split(key, BLOCKS)]


def loss(blocks, x):
    for block in blocks:
        x = jax.vmap(block)(x)
    return jnp.mean(x**2)


def step(blocks, x):
    grads = eqx.filter_grad(loss)(blocks, x)
    return eqx.apply_updates(blocks, jax.tree.map(lambda g: -0.1 * g, grads))


def setup(mesh, x):
    rules = eqx.fsdp("data", min_size=1024, over=eqx.nn.tensor_parallel("model"))
    blocks = eqx.filter_jit(make, out_shardings=rules)(jax.random.key(0))
    x = eqx.filter_device_put(x, P("data"))
    return eqx.filter_jit(step, donate=("blocks",), out_shardings=rules), blocks, x
