"""haliax: named tensors in arithmetic, layers, scans over layers and training."""

import equinox as eqx
import haliax as hax
import haliax.nn as hnn
import jax
import jax.numpy as jnp
import optax
from report import report

Batch, Pos, Embed, Mlp, Heads = hax.make_axes(batch=4, position=6, embed=8, mlp=16, heads=2)
Out, Layers = hax.make_axes(out=3, layers=3)
key = jax.random.key(0)


class Block(eqx.Module):
    norm: hnn.LayerNorm
    up: hnn.Linear
    down: hnn.Linear

    @staticmethod
    def init(*, key):
        up, down = jax.random.split(key)
        return Block(
            hnn.LayerNorm.init(Embed),
            hnn.Linear.init(In=Embed, Out=Mlp, key=up),
            hnn.Linear.init(In=Mlp, Out=Embed, key=down),
        )

    def __call__(self, x):
        return x + self.down(hnn.gelu(self.up(self.norm(x))))


class Net(eqx.Module):
    blocks: hnn.Stacked
    head: hnn.Linear
    scale: hax.NamedArray

    def __init__(self, key):
        first, second = jax.random.split(key)
        keys = jax.random.split(first, Layers.size)
        self.blocks = hnn.Stacked.init(Layers, Block)(key=keys)
        self.head = hnn.Linear.init(In=Embed, Out=Out, key=second)
        self.scale = hax.ones(Out)

    def __call__(self, x):
        return self.head(self.blocks.fold(x)) * self.scale


def train(steps=5):
    model = Net(key)
    x = hax.random.normal(jax.random.key(1), (Batch, Pos, Embed))
    y = hax.random.randint(jax.random.key(2), (Batch, Pos), 0, Out.size)
    optimiser = optax.adam(1e-2)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_value_and_grad
    def loss(model):
        logits = model(x)
        target = hnn.one_hot(y, Out, dtype=logits.dtype)
        return hnn.cross_entropy_loss(logits, Out, target).scalar()

    @hax.named_jit
    def step(model, state):
        value, grads = loss(model)
        updates, state = optimiser.update(grads, state)
        return value, eqx.apply_updates(model, updates), state

    losses = []
    for _ in range(steps):
        value, model, state = step(model, state)
        losses.append(value)
    return jnp.stack(losses), eqx.filter(model, eqx.is_array)


with report() as numbers:
    a = hax.random.normal(key, (Batch, Embed))
    b = hax.random.normal(key, (Embed, Pos))
    numbers["dot"] = hax.dot(a, b, axis=Embed).array
    numbers["mean"] = hax.mean(a, "embed").array
    numbers["index"] = a["batch", 1].array
    numbers["rearranged"] = hax.rearrange(b, "{embed position} -> position embed").array
    numbers["softmax"] = hnn.softmax(b, axis=Pos).array
    numbers["vmap"] = hax.vmap(lambda row: hax.sum(row * row), Batch)(a).array
    numbers["scan"] = hax.fold(lambda total, row: total + row, Batch)(hax.zeros(Embed), a).array
    numbers["einsum"] = hax.einsum("b e, e p -> p b", a, b).array
    q = hax.random.normal(key, (Batch, Heads, Pos, Embed))
    Keys = Pos.alias("key")
    k = q.rename({"position": "key"})
    numbers["attention"] = hnn.attention.dot_product_attention(Keys, Embed, q, k, k).array
    numbers["training"] = train()
    try:
        hax.dot(a, b, axis="absent")
    except ValueError as error:
        numbers["raises"] = "absent" in str(error)
