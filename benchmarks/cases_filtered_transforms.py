"""Filtered transformations on the model of 12 blocks: the cost of a call beyond `jax.jit`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from case import Absolute, Case, Thunk, peer
from model import batch, build

import filtered_transforms
import pytree_module

FLAT = "flat jax.jit"

# name -> at most this ratio to the peer, and to `jax.jit` on the flat list of the same arrays
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "filter_jit: scalar in and out": (0.4, 2.5),
    "filter_jit: model in, scalar out": (0.4, 4),
    "filter_jit: model in and out": (0.3, 1.7),
    "filter_jit: model in, scalar out, as a method": (0.4, None),
    "combine(*partition(model, is_array))": (0.1, None),
    "filter_vmap of a Linear, eager": (0.5, None),
    "filter_grad of a Linear, eager": (0.7, None),
    "trace and lower value-and-grad of the model": (0.85, None),
    "trace and lower vmap of the model": (0.85, None),
    "five queued 1500x1500 products: until Python is free": (None, 1.5),
}


def cases() -> list[Case | Absolute]:
    ours = operations(filtered_transforms, pytree_module)
    equinox = peer()
    theirs: dict[str, Thunk] = {} if equinox is None else operations(equinox, equinox)
    flat = operations_of_jax()
    return [
        *(
            Case(
                name,
                ours[name],
                theirs.get(name),
                limit,
                {FLAT: flat[name]} if name in flat else {},
                {FLAT: flat_limit} if flat_limit is not None else {},
            )
            for name, (limit, flat_limit) in LIMITS.items()
        ),
        Absolute(
            "import filtered_transforms, after jax",
            "import filtered_transforms",
            setup="import jax",
            peer_statement="import equinox",
        ),
    ]


def add_one(x: Any) -> Any:
    return x + 1 if isinstance(x, jax.Array) else x


def first(tree: Any) -> jax.Array:
    return jax.tree.leaves(tree)[0].sum()


def loss(model: Any, x: jax.Array) -> jax.Array:
    return model(x).sum()


def queued(jit: Callable[[Any], Any]) -> Thunk:
    """Five products, each of the result of the one before; waited for outside the clock only by
    the next round, which cannot start before the device is free.
    """
    x = jnp.ones((1500, 1500)) / 1500
    product = jit(lambda a, b: a @ b)

    def call() -> None:
        y = x
        for _ in range(5):
            y = product(y, x)

    return call


def operations(library: Any, modules: Any) -> dict[str, Thunk]:
    """What is timed, by `library` on a model of `modules.Module`."""
    model, x = build(modules), batch()
    jit, vmap = library.filter_jit, library.filter_vmap

    class Holder(modules.Module):
        model: Any

        @jit
        def method(self) -> jax.Array:
            return first(self)

    holder = Holder(model)
    scalar, scalar_in = jit(add_one), jnp.float32(1)
    reduce, update = jit(first), jit(lambda tree: jax.tree.map(add_one, tree))
    linear = model.blocks[0].mlp.up
    rows = jnp.ones((16, x.shape[1]))
    vmapped, gradient = vmap(linear), library.filter_grad(loss)
    value_and_grad, is_array = library.filter_value_and_grad(loss), library.is_array
    names = list(LIMITS)
    thunks: list[Thunk] = [
        lambda: scalar(scalar_in),
        lambda: reduce(model),
        lambda: update(model),
        lambda: holder.method(),
        lambda: library.combine(*library.partition(model, is_array)),
        lambda: vmapped(rows),
        lambda: gradient(linear, rows[0]),
        lambda: jit(lambda m, x: value_and_grad(m, x)).lower(model, x),
        lambda: jit(lambda m, x: vmap(m)(x)).lower(model, x[None]),
        queued(jit),
    ]
    return dict(zip(names, thunks, strict=True))


def operations_of_jax() -> dict[str, Thunk]:
    arrays = [leaf for leaf in jax.tree.leaves(build(pytree_module)) if isinstance(leaf, jax.Array)]
    scalar, scalar_in = jax.jit(add_one), jnp.float32(1)
    reduce, update = jax.jit(first), jax.jit(lambda tree: jax.tree.map(add_one, tree))
    return {
        "filter_jit: scalar in and out": lambda: scalar(scalar_in),
        "filter_jit: model in, scalar out": lambda: reduce(arrays),
        "filter_jit: model in and out": lambda: update(arrays),
        "five queued 1500x1500 products: until Python is free": queued(jax.jit),
    }
