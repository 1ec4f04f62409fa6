"""The same GPT by hand, on dictionaries of arrays: a loop of Python over the blocks, and a scan."""

from typing import Any

import jax
import jax.numpy as jnp
from gpt import HEADS, LENGTH, OPTIMISER, VOCABULARY, WIDTH, loss_of_logits


def uniform(key: Any, shape: tuple[int, ...], size: int) -> Any:
    bound = 1 / size**0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def make_norm() -> Any:
    return {"scale": jnp.ones(WIDTH), "bias": jnp.zeros(WIDTH)}


def make_linear(key: Any, size: int, out: int, with_bias: bool = True) -> Any:
    keys = jax.random.split(key)
    weight = uniform(keys[0], (out, size), size)
    return {"weight": weight} | ({"bias": uniform(keys[1], (out,), size)} if with_bias else {})


def make_block(key: Any) -> Any:
    keys = jax.random.split(key, 6)
    names = ("query", "key", "value", "output")
    return {
        "norm1": make_norm(),
        "norm2": make_norm(),
        "up": make_linear(keys[4], WIDTH, 4 * WIDTH),
        "down": make_linear(keys[5], 4 * WIDTH, WIDTH),
    } | {name: make_linear(k, WIDTH, WIDTH, False) for name, k in zip(names, keys, strict=False)}


def linear(params: Any, x: Any) -> Any:
    y = x @ params["weight"].T
    return y + params["bias"] if "bias" in params else y


def norm(params: Any, x: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * params["scale"] + params["bias"]


def attention(params: Any, x: Any) -> Any:
    q, k, v = (
        linear(params[name], x).reshape(*x.shape[:-1], HEADS, WIDTH // HEADS)
        for name in ("query", "key", "value")
    )
    logits = jnp.einsum("bqhs,bkhs->bhqk", q, k) / (WIDTH // HEADS) ** 0.5
    logits = jnp.where(jnp.tril(jnp.ones((LENGTH, LENGTH), bool)), logits, -jnp.inf)
    y = jnp.einsum("bhqk,bkhs->bqhs", jax.nn.softmax(logits, axis=-1), v)
    return linear(params["output"], y.reshape(x.shape))


def block(params: Any, x: Any) -> Any:
    x = x + attention(params, norm(params["norm1"], x))
    return x + linear(params["down"], jax.nn.gelu(linear(params["up"], norm(params["norm2"], x))))


def pieces(blocks: int, how: str) -> tuple[Any, Any]:
    def init() -> tuple[Any, Any]:
        keys = jax.random.split(jax.random.key(0), 4)
        of_blocks = jax.random.split(keys[2], blocks)
        model = {
            "embedding": jax.random.normal(keys[0], (VOCABULARY, WIDTH)),
            "positions": jax.random.normal(keys[1], (LENGTH, WIDTH)),
            "blocks": [make_block(k) for k in of_blocks]
            if how == "loop"
            else jax.vmap(make_block)(of_blocks),
            "norm": make_norm(),
            "head": make_linear(keys[3], WIDTH, VOCABULARY),
        }
        return model, OPTIMISER.init(model)

    def forward(model: Any, tokens: Any) -> Any:
        x = model["embedding"][tokens] + model["positions"]
        if how == "loop":
            for params in model["blocks"]:
                x = block(params, x)
        else:
            x, _ = jax.lax.scan(lambda x, params: (block(params, x), None), x, model["blocks"])
        return linear(model["head"], norm(model["norm"], x))

    @jax.jit
    def step(model: Any, state: Any, batch: Any) -> tuple[Any, Any, Any]:
        loss, grads = jax.value_and_grad(
            lambda model: loss_of_logits(forward(model, batch[:, :-1]), batch)
        )(model)
        updates, state = OPTIMISER.update(grads, state, model)
        return jax.tree.map(jnp.add, model, updates), state, loss

    return init, step
