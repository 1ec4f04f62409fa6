"""Layers: what it costs to make one, and to call one outside of `jax.jit`."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from case import Case, peer

import nn_layers


def often(make: Any) -> Any:
    """The first hundred of a shape are drawn by programs that other shapes share."""
    for _ in range(101):
        make()
    return make


def cases() -> list[Case]:
    equinox = peer()
    other: Any = equinox.nn if equinox else None
    key = jax.random.key(0)
    x = jnp.ones(64)
    image = jnp.ones((3, 8, 8))

    def sides(make: Any) -> tuple[Any, Any]:
        """The same thunk on our layers and on the peer's."""
        return make(nn_layers), make(other) if other else None

    def create_linear(nn: Any) -> Any:
        return often(lambda: nn.Linear(64, 64, key=key))

    def create_mlp(nn: Any) -> Any:
        return often(lambda: nn.MLP(64, 64, 64, 4, key=key))

    def create_conv(nn: Any) -> Any:
        return often(lambda: nn.Conv2d(3, 8, 3, key=key))

    def create_other_shapes(nn: Any) -> Any:
        sizes = itertools.cycle(range(3, 64))
        return lambda: nn.Linear(next(sizes), 16, key=key)

    def call_linear(nn: Any) -> Any:
        linear = nn.Linear(64, 64, key=key)
        return lambda: linear(x)

    def call_conv(nn: Any) -> Any:
        conv = nn.Conv2d(3, 8, 3, padding="SAME", key=key)
        return lambda: jax.block_until_ready(conv(image))

    def call_sequential(nn: Any) -> Any:
        sequential = nn.Sequential([nn.Identity() for _ in range(8)])
        return lambda: sequential(x)

    def trace_mlp(nn: Any) -> Any:
        mlp = nn.MLP(64, 64, 64, 4, key=key)
        return lambda: jax.make_jaxpr(lambda x: mlp(x))(x)

    table = [
        ("create Linear(64, 64)", create_linear, 0.6),
        ("create MLP, 4 hidden layers", create_mlp, None),
        ("create Conv2d(3, 8, 3)", create_conv, None),
        (
            "create a Linear of the next of 61 sizes",
            create_other_shapes,
            None,
        ),
        ("call a Linear eagerly", call_linear, None),
        ("call a Conv2d eagerly", call_conv, None),
        ("call a Sequential of 8 Identity", call_sequential, None),
        ("trace an MLP, 4 hidden layers", trace_mlp, None),
    ]
    made = []
    for name, make, limit in table:
        ours, theirs = sides(make)
        made.append(Case(name, ours, theirs, limit))
    return made
