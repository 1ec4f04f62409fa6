"""The same GPT in flax.nnx, as its documentation has it: a loop of Python, and `nnx.scan`."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from gpt import HEADS, LENGTH, OPTIMISER, VOCABULARY, WIDTH, loss_of_logits


class Block(nnx.Module):
    def __init__(self, rngs: Any):
        self.norm1, self.norm2 = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            HEADS, WIDTH, use_bias=False, decode=False, rngs=rngs
        )
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        causal = jnp.tril(jnp.ones((LENGTH, LENGTH), bool))
        x = x + self.attention(self.norm1(x), mask=causal)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


def pieces(blocks: int, how: str) -> tuple[Any, Any]:
    class GPT(nnx.Module):
        def __init__(self, rngs: Any):
            self.embedding = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
            self.positions = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
            if how == "loop":
                self.blocks = nnx.List([Block(rngs) for _ in range(blocks)])
            else:
                make = nnx.vmap(Block, in_axes=0, out_axes=0)
                self.blocks = make(rngs.fork(split=blocks))
            self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
            self.head = nnx.Linear(WIDTH, VOCABULARY, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            x = self.embedding(tokens) + self.positions.embedding
            if how == "loop":
                for block in self.blocks:
                    x = block(x)
            else:
                run = nnx.scan(
                    lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry
                )
                x = run(x, self.blocks)
            return self.head(self.norm(x))

    def init() -> tuple[Any, Any]:
        model = GPT(nnx.Rngs(0))
        return model, nnx.Optimizer(model, OPTIMISER, wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, state: Any, batch: Any) -> Any:
        loss, grads = nnx.value_and_grad(lambda model: loss_of_logits(model(batch[:, :-1]), batch))(
            model
        )
        state.update(model, grads)
        return loss

    return init, step
