"""A small GPT, the same text for Equinox and for us: a loop of Python over the blocks, and a scan.

`pieces` takes the namespace, ours or Equinox's, and returns how the model is made, how a training
step is compiled, and the arguments.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

WIDTH, HEADS, LENGTH, BATCH, VOCABULARY = 256, 8, 128, 4, 256
OPTIMISER = optax.adamw(1e-3)


def tokens() -> Any:
    return jax.random.randint(jax.random.key(1), (BATCH, LENGTH + 1), 0, VOCABULARY)


def loss_of_logits(logits: Any, batch: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def pieces(eqx: Any, blocks: int, how: str) -> tuple[Any, Any]:
    class Block(eqx.Module):
        norm1: Any
        attention: Any
        norm2: Any
        up: Any
        down: Any

        def __init__(self, key: Any):
            keys = jax.random.split(key, 3)
            self.norm1, self.norm2 = eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH)
            self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, key=keys[0])
            self.up = eqx.nn.Linear(WIDTH, 4 * WIDTH, key=keys[1])
            self.down = eqx.nn.Linear(4 * WIDTH, WIDTH, key=keys[2])

        def __call__(self, x: Any) -> Any:
            y, causal = jax.vmap(self.norm1)(x), jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
            x = x + self.attention(y, y, y, mask=causal)
            return x + jax.vmap(lambda x: self.down(jax.nn.gelu(self.up(self.norm2(x)))))(x)

    class GPT(eqx.Module):
        embedding: Any
        positions: Any
        blocks: Any
        norm: Any
        head: Any

        def __init__(self, key: Any):
            keys = jax.random.split(key, 4)
            self.embedding = eqx.nn.Embedding(VOCABULARY, WIDTH, key=keys[0])
            self.positions = eqx.nn.Embedding(LENGTH, WIDTH, key=keys[1])
            if how == "loop":
                self.blocks = [Block(k) for k in jax.random.split(keys[2], blocks)]
            elif how == "scan":  # as it is written by hand
                self.blocks = eqx.filter_vmap(Block)(jax.random.split(keys[2], blocks))
            else:
                self.blocks = eqx.nn.Stacked(Block, blocks, key=keys[2])
            self.norm = eqx.nn.LayerNorm(WIDTH)
            self.head = eqx.nn.Linear(WIDTH, VOCABULARY, key=keys[3])

        def __call__(self, tokens: Any) -> Any:
            x = jax.vmap(self.embedding)(tokens) + self.positions.weight
            if how == "loop":
                for block in self.blocks:
                    x = block(x)
            elif how == "scan":
                arrays, rest = eqx.partition(self.blocks, eqx.is_array)
                x, _ = jax.lax.scan(lambda x, a: (eqx.combine(a, rest)(x), None), x, arrays)
            else:
                x = self.blocks(x)
            return jax.vmap(self.head)(jax.vmap(self.norm)(x))

    def init() -> tuple[Any, Any]:
        model = GPT(jax.random.key(0))
        return model, OPTIMISER.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model: Any, state: Any, batch: Any) -> tuple[Any, Any, Any]:
        loss, grads = eqx.filter_value_and_grad(
            lambda model: loss_of_logits(jax.vmap(model)(batch[:, :-1]), batch)
        )(model)
        updates, state = OPTIMISER.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, loss

    return init, step
