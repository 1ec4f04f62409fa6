"""Layers, as typed programs use them: what each constructor takes, and what each call returns.

Checked by pyright and mypy, never run.
"""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import PRNGKeyArray

from nn_layers import (
    MLP,
    RNN,
    AdaptiveAvgPool2d,
    AdaptivePool,
    AvgPool1d,
    AvgPool2d,
    BatchNorm,
    Bidirectional,
    Conv,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    GroupNorm,
    GRUCell,
    Identity,
    KVCache,
    Lambda,
    LayerNorm,
    Linear,
    LSTMCell,
    MaxPool2d,
    MultiheadAttention,
    Pool,
    PReLU,
    RMSNorm,
    RotaryPositionalEmbedding,
    Sequential,
    ShapeError,
    Shared,
    SpectralNorm,
    Stacked,
    State,
    StatefulLayer,
    StateIndex,
    WeightNorm,
    delete_init_state,
    inference_mode,
    make_with_state,
    summary,
)
from pytree_module import Module
from tree_surgery import tree_at

key = jax.random.key(0)
x = jnp.ones(3)


class Block(Module):
    norm: LayerNorm
    linear: Linear

    def __init__(self, size: int, *, key: Array) -> None:
        self.norm = LayerNorm(size)
        self.linear = Linear(size, size, key=key)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:
        return x + self.linear(self.norm(x))


def plain_layers() -> None:
    linear = Linear(3, "scalar", use_bias=False, dtype=jnp.float32, key=key)
    assert_type(linear(x), Array)
    assert_type(linear.weight, Array)
    assert_type(linear.bias, Array | None)
    assert_type(MLP("scalar", 2, 8, 1, jax.nn.tanh, scan=True, key=key)(x), Array)
    assert_type(MLP(3, 2, 8, 1, key=key).layers, tuple[Linear, ...])
    assert_type(Identity(3, anything=True)("text"), str)
    assert_type(PReLU(0.1)(x), Array)
    assert_type(Dropout(0.1)(x, key=key, inference=True), Array)
    assert_type(Embedding(5, 3, dtype="float32", key=key)(2), Array)
    assert_type(Embedding(weight=jnp.ones((5, 3)))(np.int32(2)), Array)
    assert_type(Lambda(jnp.tanh)(x), Array)
    assert_type(Lambda(len)([1, 2]), int)
    assert_type(Lambda(lambda x: x + 1)(x), Any)
    rope = RotaryPositionalEmbedding(4, theta=100.0, dtype=jnp.float16)
    assert_type(rope(jnp.ones((2, 4)), offset=jnp.array(3)), Array)
    assert_type(rope(jnp.ones((2, 4)), positions=np.arange(2)), Array)
    assert_type(ShapeError("wrong", linear, (3,), (2,)).received, tuple[int, ...] | None)


def spatial_layers() -> None:
    image = jnp.ones((3, 8, 8))
    assert_type(Conv(2, 3, 8, kernel_size=3, padding="SAME", key=key)(image), Array)
    assert_type(Conv1d(2, 4, 3, 2, 1, dtype=jnp.bfloat16, key=key)(x), Array)
    assert_type(Conv2d(3, 8, (3, 3), padding=[(1, 2), 1], padding_mode="REFLECT", key=key), Conv2d)
    assert_type(Conv2d(3, 8, 3, padding="same_lower", groups=1, key=key).weight, Array)
    up = ConvTranspose2d(2, 3, 4, 2, output_padding=1, padding=1, key=key)
    assert_type(up(image), Array)
    assert_type(up.output_padding, tuple[int, ...])
    assert_type(AvgPool2d(2, stride=2)(image), Array)
    assert_type(AvgPool1d(kernel_size=2, padding=[1], use_ceil=True).kernel_size, tuple[int, ...])
    assert_type(MaxPool2d([2, 2], padding=[(0, 1), (0, 1)])(image), Array)
    assert_type(AdaptiveAvgPool2d((2, 3))(image), Array)
    assert_type(AdaptivePool(2, 2, jnp.max)(image), Array)
    assert_type(Pool(0, jax.lax.add, 1, 2, stride=2)(x), Array)


def norms(state: State) -> None:
    assert_type(LayerNorm(3, use_bias=False)(x), Array)
    assert_type(LayerNorm((2, 3))(x, state), tuple[Array, State])
    assert_type(RMSNorm(3, eps=1e-6, use_weight=False)(x, key=key), Array)
    assert_type(GroupNorm(2, 4)(x), Array)
    assert_type(GroupNorm(2, 4)(x, state, key=key), tuple[Array, State])
    norm = BatchNorm(3, "batch", mode="batch", init_variance=0.0)
    assert_type(norm(x, state, inference=True), tuple[Array, State])
    if norm.batch_counter is not None and norm.batch_state_index is not None:
        assert_type(state.get(norm.batch_counter), Array)
        assert_type(state.get(norm.batch_state_index), tuple[Array, Array])


def attention(known: bool) -> None:
    attend = MultiheadAttention(2, 8, num_kv_heads=1, use_query_bias=True, key=key)
    q = jnp.ones((3, 8))
    assert_type(attend(q, q, q), Array)
    assert_type(attend(q, q, q, jnp.ones((3, 3), bool), implementation="xla"), Array)
    cache = attend.init_cache(16, dtype=jnp.float16)
    assert_type(cache, KVCache)
    assert_type(attend(q, q, q, is_causal=True, cache=cache), tuple[Array, KVCache])
    assert_type(attend(q, q, q, cache=cache if known else None), Array | tuple[Array, KVCache])

    def rotated(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
        return q, k, v

    assert_type(attend(q, q, q, process_heads=rotated), Array)


def stacks(state: State) -> None:
    stacked = Stacked(lambda key: Block(3, key=key), 12, unroll=True, remat=False, key=key)
    assert_type(stacked, Stacked[Block])
    assert_type(stacked.layers, Block)
    assert_type(stacked.layers.linear.weight, Array)
    assert_type(stacked[0], Block)
    assert_type(stacked[np.int64(1)], Block)
    assert_type(stacked[jnp.array(1)], Block)
    assert_type(stacked[1:3], Stacked[Block])
    assert_type(stacked.unstack(), list[Block])
    assert_type(next(iter(stacked)), Block)
    assert_type(len(stacked), int)
    assert_type(Stacked.from_layers([stacked[0], stacked[1]], remat="elementwise"), Stacked[Block])
    assert_type(stacked(x, key=key), Array)
    assert_type(stacked((x, {"b": x})), tuple[Array, dict[str, Array]])
    assert_type(stacked(x, shared={"mask": x}, each={"scale": x}), Array)
    assert_type(stacked(x, state), tuple[Array, State])


class Deep(Stacked[Block], init=False):
    def last(self) -> Block:
        return self[-1]


def subclasses() -> None:
    deep = Deep(lambda key: Block(3, key=key), 12, key=key)
    assert_type(deep, Deep)
    assert_type(deep[1:], Deep)
    assert_type(deep(x), Array)


class Collecting(Module):
    def __call__(self, x: Array) -> tuple[Array, dict[str, Array]]:
        return x, {"mean": x.mean()}


def stack_that_collects(state: State) -> None:
    stacked = Stacked.from_layers([Collecting()])
    assert_type(stacked(x, collect=True), tuple[Array, dict[str, Array]])
    assert_type(stacked(x, state, collect=True), tuple[tuple[Array, Any], State])


class Counting(Module):
    """A cell of one's own, whose hidden state is a dictionary."""

    def __call__(self, x: Array, hidden: dict[str, Array]) -> dict[str, Array]:
        return {"count": hidden["count"] + x.sum()}

    def output(self, hidden: dict[str, Array]) -> Array:
        return hidden["count"]


def recurrent(choice: bool) -> None:
    xs = jnp.ones((7, 2))
    gru = RNN(GRUCell(2, 5, key=key), reverse=True)
    assert_type(gru, RNN[GRUCell])
    assert_type(gru(xs, mask=xs[:, 0] > 0), Array)
    assert_type(gru(xs, return_state=True), tuple[Array, Array])
    lstm = RNN(LSTMCell(2, 5, key=key), return_sequences=False, unroll=2)
    assert_type(lstm.cell, LSTMCell)
    assert_type(lstm(xs, lstm.cell.initial_state()), Array)
    assert_type(lstm(xs, return_state=True), tuple[Array, tuple[Array, Array]])
    assert_type(lstm(xs, return_state=choice), Array | tuple[Array, tuple[Array, Array]])
    own = RNN(Counting())
    assert_type(own(xs, {"count": x}, return_state=True), tuple[Array, dict[str, Array]])
    both = Bidirectional(gru.cell, lstm.cell)
    assert_type(both, Bidirectional[GRUCell, LSTMCell])
    assert_type(both.backward, RNN[LSTMCell])
    assert_type(both.forward.cell, GRUCell)
    assert_type(both(xs), Array)
    state = (gru.cell.initial_state(), lstm.cell.initial_state())
    pair = both(xs, state, key=key, return_state=True)
    assert_type(pair, tuple[Array, tuple[Array, tuple[Array, Array]]])


def wrapped(state: State) -> None:
    linear = Linear(3, 5, key=key)
    normed = WeightNorm(linear, axis=None)
    assert_type(normed, WeightNorm[Linear])
    assert_type(normed.layer, Linear)
    assert_type(normed.layer.weight, Array)
    assert_type(normed(x, key=key), Array)
    spectral = SpectralNorm(linear, "weight", key=key)
    assert_type(spectral, SpectralNorm[Linear])
    assert_type(spectral.layer, Linear)
    assert_type(spectral(x, state, inference=True), tuple[Array, State])
    assert_type(state.get(spectral.uv_index), tuple[Array, Array])
    pair = (Embedding(5, 3, key=key), linear)
    shared = Shared(pair, where=lambda pair: pair[1].weight, get=lambda pair: pair[0].weight)
    assert_type(shared, Shared[tuple[Embedding, Linear]])
    assert_type(shared(), tuple[Embedding, Linear])
    assert_type(shared()[1](x), Array)


class Open(Module):
    """Brackets left out: of any layers."""

    recurrent: RNN
    both: Bidirectional
    stacked: Stacked
    normed: WeightNorm
    spectral: SpectralNorm
    shared: Shared
    fn: Lambda
    index: StateIndex


def without_brackets(layer: Open, state: State) -> None:
    assert_type(layer.recurrent(x), Array)
    assert_type(layer.recurrent(x, return_state=True), tuple[Array, Any])
    assert_type(layer.both(x), Array)
    assert_type(layer.both(x, return_state=True), tuple[Array, tuple[Any, Any]])
    assert_type(layer.stacked(x), Array)
    assert_type(layer.stacked(x, collect=True), tuple[Array, Any])
    assert_type(layer.stacked(x, state), tuple[Array, State])
    assert_type(layer.stacked[0], Any)
    assert_type(layer.normed(x), Any)
    assert_type(layer.spectral(x, state), tuple[Any, State])
    assert_type(layer.shared(), Any)
    assert_type(layer.fn(x), Any)
    assert_type(state.get(layer.index), Any)


class Noisy(Module):
    """A cell that needs a key."""

    def __call__(self, x: Array, hidden: Array, *, key: PRNGKeyArray) -> Array:
        return x + hidden + jax.random.normal(key, hidden.shape)


def function_cell(x: Array, hidden: Array) -> Array:
    return x + hidden


def cells(xs: Array) -> None:
    assert_type(RNN(Noisy())(xs, x, key=key, return_state=True), tuple[Array, Array])
    assert_type(RNN(function_cell)(xs, x, return_state=True), tuple[Array, Array])


def sequences(state: State) -> None:
    model = Sequential([Linear(3, 3, key=key), jax.nn.relu, Lambda(jnp.tanh), Dropout()])
    assert_type(model(x), Array)
    assert_type(model(x, key=key), Array)
    assert_type(model(x, state, key=key), tuple[Array, State])
    assert_type(model[1:], Sequential)
    assert_type(model.layers[0], Any)
    pair = Sequential((Linear(3, 3, key=key), Dropout()))  # of a tuple it is known what is where
    assert_type(pair, Sequential[Linear, Dropout])
    assert_type(pair.layers[0].weight, Array)
    assert_type(pair(x, key=key), Array)
    assert_type(pair[:1](x, state), tuple[Array, State])
    assert_type(make_with_state(Sequential)([pair, jax.nn.relu]), tuple[Sequential, State])
    assert_type(inference_mode(pair), Sequential[Linear, Dropout])
    assert_type(
        tree_at(lambda model: model.layers[0].bias, pair, None), Sequential[Linear, Dropout]
    )
    open_ones: list[Sequential] = [model, pair]
    assert_type(open_ones[0].layers[0], Any)
    assert_type(model[0], Any)
    assert_type(model.is_stateful(), bool)
    assert_type(len(model), int)


class Count(StatefulLayer):
    index: StateIndex[Array]

    def __init__(self, start: int) -> None:
        self.index = StateIndex(jnp.array(start))

    def __call__(self, x: Array, state: State, *, key: Array | None = None) -> tuple[Array, State]:
        count = state.get(self.index)
        assert_type(count, Array)
        return x + count, state.set(self.index, count + 1)


class Net(Module):
    count: Count
    linear: Linear
    stack: Stacked[Block]
    encoder: RNN[LSTMCell]
    anything: Stacked  # without brackets: of any layers

    def __init__(self, size: int, *, depth: int = 3, key: Array) -> None:
        self.count = Count(0)
        self.linear = Linear(size, size, key=key)
        self.stack = Stacked(lambda key: Block(size, key=key), depth, key=key)
        self.encoder = RNN(LSTMCell(size, size, key=key))
        self.anything = self.stack

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        x, state = self.count(x, state)
        return self.anything(self.stack(self.linear(x))), state


def with_state() -> None:
    net, state = make_with_state(Net)(3, depth=2, key=key)
    assert_type(net, Net)
    assert_type(state, State)
    assert_type(make_with_state(Net)(3, key=key), tuple[Net, State])
    assert_type(make_with_state(BatchNorm)(3, "batch", mode="ema"), tuple[BatchNorm, State])
    assert_type(net(x, state), tuple[Array, State])
    assert_type(state.substate(net.count), State)
    assert_type(state.update(state.substate(net)), State)
    assert_type(StateIndex({"a": x}), StateIndex[dict[str, Array]])
    assert_type(state.get(StateIndex((x, x))), tuple[Array, Array])
    assert_type(state.set(net.count.index, x), State)
    assert_type(inference_mode(net), Net)
    assert_type(inference_mode(net, value=False).linear, Linear)
    assert_type(inference_mode((net, [net.linear])), tuple[Net, list[Linear]])
    assert_type(delete_init_state(net), Net)
    assert_type(summary(net, x, state, depth=1, format="markdown"), str)
    assert_type(summary(net, x, call=lambda net, x: jax.vmap(net)(x)), str)
