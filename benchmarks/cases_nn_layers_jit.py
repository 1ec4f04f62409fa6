"""Layers in compiled programs: values and gradients, tracing, and stacks of layers."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from case import NNX, Case, Thunk, nnx, peer

import equinoctial
import nn_layers

KEY = jax.random.key(0)
BLOCKS, DEEP = 12, 48


def gradient(eqx: Any, call: Callable[..., Any], layer: Any, *xs: Any) -> Thunk:
    """Value and gradient with respect to layer and inputs, compiled."""
    arrays, static = eqx.partition(layer, eqx.is_inexact_array)

    def loss(arrays: Any, xs: Any) -> Any:
        return jnp.sum(jnp.square(call(eqx.combine(arrays, static), *xs)))

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(run(arrays, xs))


def nnx_gradient(layer: Any, call: Callable[..., Any], *xs: Any) -> Thunk:
    """The same of a layer of flax.nnx, by its functional interface."""
    flax: Any = nnx()
    graph, params, rest = flax.split(layer, flax.Param, ...)

    def loss(params: Any, xs: Any, rest: Any) -> Any:
        return jnp.sum(jnp.square(call(flax.merge(graph, params, rest), *xs)))

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(run(params, xs, rest))


def scanned(cell: Any, xs: Any) -> Any:
    """What one writes for an LSTM without `RNN`."""
    zeros = jnp.zeros(cell.hidden_size)

    def step(state: Any, x: Any) -> Any:
        state = cell(x, state)
        return state, state[0]

    return jax.lax.scan(step, (zeros, zeros), xs)[1]


def plain_layers() -> list[Case]:
    x = jax.random.normal(KEY, (1024, 256))
    image, batch = jax.random.normal(KEY, (16, 64, 64)), jax.random.normal(KEY, (256, 512))
    flax: Any = nnx()
    rngs = flax.Rngs(0) if flax else None
    attend = lambda layer, x: layer(x, x, x)  # noqa: E731
    one, each = lambda layer, x: layer(x), lambda layer, x: jax.vmap(layer)(x)
    table: list[tuple[str, Any, Any, Any, float]] = [
        ("attention, 8 heads, 256 wide, 1024 long", attend,
         lambda nn: nn.MultiheadAttention(8, 256, key=KEY), x, 0.7),
        ("Conv2d 3x3, 16 channels, 64 x 64", one,
         lambda nn: nn.Conv2d(16, 16, 3, padding=1, key=KEY), image, 1.0),
        ("ConvTranspose2d 3x3, stride 2", one,
         lambda nn: nn.ConvTranspose2d(16, 16, 3, 2, key=KEY), image, 1.0),
        ("MaxPool2d 2x2", one, lambda nn: nn.MaxPool2d(2, 2), image, 1.0),
        ("AvgPool2d 2x2", one, lambda nn: nn.AvgPool2d(2, 2), image, 1.0),
        ("AdaptiveAvgPool2d to 7", one, lambda nn: nn.AdaptiveAvgPool2d(7), image, 1.0),
        ("LayerNorm(512) of 256", each, lambda nn: nn.LayerNorm(512), batch, 1.0),
        ("RMSNorm(512) of 256", each, lambda nn: nn.RMSNorm(512), batch, 1.0),
        ("GroupNorm, 4 groups, 16 x 64 x 64", one, lambda nn: nn.GroupNorm(4, 16), image, 1.0),
    ]  # fmt: skip
    others: dict[str, Callable[[], Thunk]] = {}
    if flax:
        last = jnp.moveaxis(image, 0, -1)[None]
        others = {
            "attention": lambda: nnx_gradient(
                flax.MultiHeadAttention(8, 256, use_bias=False, decode=False, rngs=rngs), one, x
            ),
            "Conv2d": lambda: nnx_gradient(flax.Conv(16, 16, (3, 3), rngs=rngs), one, last),
            "LayerNorm": lambda: nnx_gradient(flax.LayerNorm(512, rngs=rngs), one, batch),
            "RMSNorm": lambda: nnx_gradient(flax.RMSNorm(512, rngs=rngs), one, batch),
            "GroupNorm": lambda: nnx_gradient(
                flax.GroupNorm(16, num_groups=4, rngs=rngs), one, last
            ),
        }
    made = []
    for name, call, make, inputs, limit in table:
        ours = gradient(equinoctial, call, make(nn_layers), inputs)
        eqx: Any = peer()
        theirs = gradient(eqx, call, make(eqx.nn), inputs) if eqx else None
        more = next((f for start, f in others.items() if name.startswith(start)), None)
        columns = {NNX: more()} if more else {}
        made.append(Case(f"value and gradient: {name}", ours, theirs, limit, columns))
    return made


def recurrent() -> Case:
    xs = jax.random.normal(KEY, (512, 128))
    cell = nn_layers.LSTMCell(128, 256, key=KEY)
    ours = gradient(equinoctial, lambda cell, xs: nn_layers.RNN(cell)(xs), cell, xs)
    eqx: Any = peer()
    theirs = gradient(eqx, scanned, eqx.nn.LSTMCell(128, 256, key=KEY), xs) if eqx else None
    others: dict[str, Thunk] = {}
    flax: Any = nnx()
    if flax:
        rngs = flax.Rngs(0)
        rnn = flax.RNN(flax.OptimizedLSTMCell(128, 256, rngs=rngs), rngs=rngs)
        start = (jnp.zeros(256), jnp.zeros(256))
        others[NNX] = nnx_gradient(rnn, lambda rnn, xs: rnn(xs, initial_carry=start), xs)
    name = "value and gradient: LSTM over 512 steps, 128 to 256"
    return Case(name, ours, theirs, 0.8, others)


def recurrent_batch() -> Case:
    xs = jax.random.normal(KEY, (16, 128, 64))
    each = lambda run: lambda cell, xs: jax.vmap(lambda x: run(cell, x))(xs)  # noqa: E731
    run = each(lambda cell, x: nn_layers.RNN(cell)(x))
    ours = gradient(equinoctial, run, nn_layers.LSTMCell(64, 128, key=KEY), xs)
    eqx: Any = peer()
    cell = eqx.nn.LSTMCell(64, 128, key=KEY) if eqx else None
    theirs = gradient(eqx, each(scanned), cell, xs) if eqx else None
    return Case("value and gradient: LSTM over 16 sequences of 128 steps", ours, theirs, 1.0)


def block_class(eqx: Any) -> Any:
    """A transformer block of the namespace's own layers."""
    nn = eqx.nn

    class Block(eqx.Module):
        norm1: Any
        attention: Any
        norm2: Any
        mlp: Any

        def __init__(self, dim: int, heads: int, key: Any):
            key1, key2 = jax.random.split(key)
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.attention = nn.MultiheadAttention(heads, dim, key=key1)
            self.mlp = nn.MLP(dim, dim, 4 * dim, 1, jax.nn.gelu, key=key2)

        def __call__(self, x: Any) -> Any:
            y = jax.vmap(self.norm1)(x)
            x = x + self.attention(y, y, y)
            return x + jax.vmap(self.mlp)(jax.vmap(self.norm2)(x))

    return Block


def looped(blocks: Any, x: Any) -> Any:
    for block in blocks:
        x = block(x)
    return jnp.sum(jnp.square(x))


def tracing() -> Case:
    x = jnp.ones((4, 8))

    def trace(eqx: Any) -> Thunk:
        Block = block_class(eqx)
        blocks = [Block(8, 2, key) for key in jax.random.split(KEY, BLOCKS)]

        def run() -> Any:
            # A new function each time: nothing is to be found again.
            function = eqx.filter_value_and_grad(lambda blocks, x: looped(blocks, x))
            return eqx.filter_jit(function).lower(blocks, x)

        return run

    eqx = peer()
    name = f"trace and lower value-and-grad of {BLOCKS} blocks of layers"
    return Case(name, trace(equinoctial), trace(eqx) if eqx else None, 0.85)


def stacks() -> list[Case]:
    x = jax.random.normal(KEY, (64, 64))
    eqx = peer()

    @functools.cache
    def compiled(name: str) -> tuple[Any, float]:
        """The program, and the seconds it took: Equinox's takes minutes, so it is made once."""
        side: Any = eqx if name == "peer" else equinoctial
        make = functools.partial(block_class(side), 64, 4)
        model: Any = [make(key=key) for key in jax.random.split(KEY, DEEP)]
        if name == "stacked":
            model = nn_layers.Stacked.from_layers(model)
        loss = (lambda stacked, x: jnp.sum(jnp.square(stacked(x)))) if name == "stacked" else looped
        run = side.filter_jit(side.filter_value_and_grad(loss))
        start = time.perf_counter()
        program = run.lower(model, x).compile()
        seconds = time.perf_counter() - start
        return lambda: jax.block_until_ready(program(model, x)), seconds

    def seconds(name: str) -> Callable[[], float]:
        return lambda: compiled(name)[1]

    def call(name: str) -> Thunk:
        return lambda: compiled(name)[0]()

    column = "Python loop"
    return [
        Case(f"compile {DEEP} blocks, Stacked; Equinox: Python loop", seconds("stacked"),
             seconds("peer") if eqx else None, 0.15, {column: seconds("loop")}, {column: 0.15},
             own_clock=True),
        Case(f"run {DEEP} blocks, Stacked; Equinox: Python loop", call("stacked"),
             call("peer") if eqx else None, 1.1, {column: call("loop")}, {column: 1.1}),
    ]  # fmt: skip


def cases() -> list[Case]:
    return [*plain_layers(), recurrent(), recurrent_batch(), tracing(), *stacks()]
