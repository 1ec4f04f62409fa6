"""A training script that names everything by `eqx`: `eqx.nn`, `eqx.internal`, `eqx.debug`.

Checked by pyright and mypy, never run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import equinoctial as eqx


class RESULTS(eqx.Enumeration):
    going = "The training goes on."
    diverged = "The loss is not finite."


class Block(eqx.Module):
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP

    def __init__(self, size: int, *, key: PRNGKeyArray) -> None:
        key1, key2 = jax.random.split(key)
        self.norm = eqx.nn.LayerNorm(size)
        self.attention = eqx.nn.MultiheadAttention(4, size, dropout_p=0.1, key=key1)
        self.mlp = eqx.nn.MLP(size, size, 4 * size, 1, jax.nn.gelu, key=key2)

    def __call__(
        self, x: Float[Array, "length size"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "length size"]:
        y = jax.vmap(self.norm)(x)
        x = x + self.attention(y, y, y, key=key, is_causal=True)
        return x + jax.vmap(self.mlp)(x)


class Model(eqx.Module):
    embedding: eqx.nn.Embedding
    blocks: eqx.nn.Stacked[Block]
    norm: eqx.nn.BatchNorm
    readout: eqx.nn.Linear
    name: str = eqx.field(static=True, default="model")

    def __init__(self, size: int, depth: int, *, key: PRNGKeyArray) -> None:
        key1, key2, key3 = jax.random.split(key, 3)
        self.embedding = eqx.nn.Embedding(256, size, key=key1)
        self.blocks = eqx.nn.Stacked(lambda key: Block(size, key=key), depth, key=key2)
        self.norm = eqx.nn.BatchNorm(size, "batch", mode="batch")
        self.readout = eqx.nn.Linear(size, 256, key=key3)

    def __call__(
        self, tokens: Int[Array, " length"], state: eqx.nn.State, key: PRNGKeyArray | None = None
    ) -> tuple[Array, eqx.nn.State]:
        x = self.blocks(jax.vmap(self.embedding)(tokens), key=key)
        assert_type(x, Array)
        pooled, state = self.norm(x.mean(0), state)
        assert_type(state, eqx.nn.State)
        return self.readout(pooled), state


def loss_of(
    model: Model, state: eqx.nn.State, tokens: Array, targets: Array, key: PRNGKeyArray
) -> tuple[Array, eqx.nn.State]:
    keys = jax.random.split(key, len(tokens))

    def one(tokens: Array, key: Array) -> tuple[Array, eqx.nn.State]:
        return model(tokens, state, key)

    logits, states = eqx.filter_vmap(one, axis_name="batch", out_axes=(0, None))(tokens, keys)
    assert_type(logits, Array)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], axis=1)
    return eqx.error_if(-picked.mean(), jnp.isnan(picked).any(), "NaN."), states


@eqx.filter_jit(donate="all-except-first")
def step(
    tokens: Array,
    targets: Array,
    model: Model,
    state: eqx.nn.State,
    optimiser: optax.OptState,
    key: PRNGKeyArray,
) -> tuple[Model, eqx.nn.State, Array, RESULTS]:
    gradient_of = eqx.filter_value_and_grad(loss_of, has_aux=True)
    (loss, state), gradient = gradient_of(model, state, tokens, targets, key)
    assert_type(gradient, Model)
    assert_type(loss, Array)
    model = eqx.apply_updates(model, jax.tree.map(lambda g: -1e-3 * g, gradient))
    going = jnp.isfinite(loss)
    return model, state, loss, RESULTS.where(going, RESULTS.going, RESULTS.diverged)


def data(key: PRNGKeyArray) -> Iterator[tuple[Array, Array]]:
    while True:
        yield jax.random.randint(key, (8, 16), 0, 256), jnp.zeros(8, int)


def train(steps: int, file: Path) -> Model:
    key = jax.random.key(0)
    model, state = eqx.nn.make_with_state(Model)(64, depth=6, key=key)
    assert_type(model, Model)
    assert_type(eqx.filter(model, eqx.is_inexact_array), Model)
    optimiser: Any = optax.adam(1e-3).init(jax.tree.leaves(model))
    for _, (tokens, targets) in zip(range(steps), data(key), strict=False):
        out = step(tokens, targets, model, state, optimiser, key)
        assert_type(out, tuple[Model, eqx.nn.State, Array, RESULTS])
        model, state, loss, result = out
        assert_type(result.error_if(loss, result == RESULTS.diverged), Array)
    model = eqx.nn.inference_mode(model)
    model = eqx.tree_at(lambda model: model.readout.weight, model, jnp.zeros((256, 64)))
    assert_type(model.blocks[0].attention.query_proj, eqx.nn.Linear)
    assert_type(model.blocks[:2], eqx.nn.Stacked[Block])
    eqx.save(file, model)
    assert_type(eqx.load(file, model), Model)
    assert_type(eqx.nn.summary(model, jnp.zeros(16, int), state, depth=1), str)
    return eqx.freeze(model, "embedding")


def layers(key: PRNGKeyArray, state: eqx.nn.State) -> None:
    x = jnp.ones((3, 8, 8))
    assert_type(eqx.nn.Conv2d(3, 8, 3, padding="SAME", key=key)(x), Array)
    assert_type(eqx.nn.AvgPool2d(2, use_ceil=True)(x), Array)
    rnn = eqx.nn.RNN(eqx.nn.GRUCell(8, 8, key=key))
    assert_type(rnn, eqx.nn.RNN[eqx.nn.GRUCell])
    assert_type(rnn(x[0], return_state=True), tuple[Array, Array])
    weight_norm = eqx.nn.WeightNorm(eqx.nn.Linear(8, 8, key=key))
    assert_type(weight_norm.layer, eqx.nn.Linear)
    index = eqx.nn.StateIndex(x)
    assert_type(state.get(index), Array)
    assert_type(eqx.tree_inference(rnn, value=True), eqx.nn.RNN[eqx.nn.GRUCell])


def internals(x: Array) -> None:
    def more(carry: tuple[Array, int]) -> Array:
        return carry[0] < 3

    def double(carry: tuple[Array, int]) -> tuple[Array, int]:
        return 2 * carry[0], carry[1]

    done = eqx.internal.while_loop(more, double, (x, 3), kind="checkpointed", checkpoints=4)
    assert_type(done, tuple[Array, int])

    def add(carry: Array, x: Array) -> tuple[Array, Array]:
        return carry + x, carry

    assert_type(eqx.internal.scan(add, x[0], x, kind="lax"), tuple[Array, Array])
    assert_type(eqx.internal.nondifferentiable(x), Array)
    assert_type(eqx.internal.error_if(x, x > 0, "positive"), Array)
    assert_type(eqx.internal.unvmap_any(x > 0), Array)
    assert_type(eqx.internal.Static("a").value, str)

    class Codes(eqx.internal.Enumeration):
        fine = "Nothing is wrong."

    assert_type(Codes.promote(RESULTS.going), Codes)
    with eqx.debug.log_retraces():
        assert_type(eqx.debug.get_num_traces(more), int)
    assert_type(eqx.debug.name_scopes(x), Array)
