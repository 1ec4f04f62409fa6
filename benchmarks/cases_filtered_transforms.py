"""Filtered transformations on the model of 12 blocks: the cost of a call beyond `jax.jit`."""

import importlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from case import NNX, Case, Thunk, nnx, peer
from model import batch, build

import filtered_transforms
import pytree_module

FLAT = "plain JAX"  # on the flat list of arrays; `jax.vmap` and `jax.grad` of the Linear
QUEUED = "five queued 1500x1500 products: until Python is free"

# name -> at most this ratio to the peer, and to `jax.jit` on the flat list of the same arrays
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "filter_jit: scalar in and out": (0.4, 2.5),
    "filter_jit: model in, scalar out": (0.4, 4),
    "filter_jit: model in and out": (0.3, 1.7),
    "filter_jit: model in, scalar out, as a method": (0.4, None),
    "combine(*partition(model, is_array))": (0.1, None),
    "filter_vmap of a Linear, eager": (None, 1.05),
    "filter_grad of a Linear, eager": (None, 1.05),
    "trace and lower value-and-grad of the model": (0.85, None),
    "trace and lower vmap of the model": (0.85, None),
    QUEUED: (None, 1.5),
}


def cases() -> list[Case]:
    ours = operations(filtered_transforms, pytree_module)
    equinox = peer()
    theirs: dict[str, Thunk] = {} if equinox is None else operations(equinox, equinox)
    columns = {FLAT: operations_of_jax()}
    if nnx():
        columns[NNX] = importlib.import_module("nnx_side").operations(LIMITS, loss, queued)
    return [
        *(
            Case(
                name,
                ours[name],
                theirs.get(name),
                limit,
                {column: thunks[name] for column, thunks in columns.items() if name in thunks},
                {FLAT: flat_limit} if flat_limit is not None else {},
                own_clock=name == QUEUED,
            )
            for name, (limit, flat_limit) in LIMITS.items()
        ),
    ]


def add_one(x: Any) -> Any:
    return x + 1 if isinstance(x, jax.Array) else x


def first(tree: Any) -> jax.Array:
    return jax.tree.leaves(tree)[0].sum()


def loss(model: Any, x: jax.Array) -> jax.Array:
    return model(x).sum()


def queued(jit: Callable[[Any], Any]) -> Thunk:
    """Five products, each of the result of the one before: the seconds until Python may go on.

    The products keep both cores busy, and by chance the scheduler takes one away from Python for
    some milliseconds. So the least of three tries counts; one that waits does so in each.
    """
    x = jnp.ones((1500, 1500)) / 1500
    product = jit(lambda a, b: a @ b)

    def once() -> float:
        y = x
        start = time.perf_counter()
        for _ in range(5):
            y = product(y, x)
        spent = time.perf_counter() - start
        y.block_until_ready()
        return spent

    return lambda: min(once() for _ in range(3))


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
    model = build(pytree_module)
    arrays = [leaf for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.Array)]
    linear, rows = model.blocks[0].mlp.up, jnp.ones((16, batch().shape[1]))
    vmapped, gradient = jax.vmap(linear), jax.grad(loss)
    value_and_grad, x = jax.value_and_grad(on_arrays(model)), batch()
    scalar, scalar_in = jax.jit(add_one), jnp.float32(1)
    reduce, update = jax.jit(first), jax.jit(lambda tree: jax.tree.map(add_one, tree))
    return {
        "filter_jit: scalar in and out": lambda: scalar(scalar_in),
        "filter_jit: model in, scalar out": lambda: reduce(arrays),
        "filter_jit: model in and out": lambda: update(arrays),
        "filter_vmap of a Linear, eager": lambda: vmapped(rows),
        "filter_grad of a Linear, eager": lambda: gradient(linear, rows[0]),
        "trace and lower value-and-grad of the model": lambda: jax.jit(
            lambda arrays, x: value_and_grad(arrays, x)
        ).lower(arrays, x),
        "trace and lower vmap of the model": lambda: jax.jit(
            lambda arrays, x: jax.vmap(lambda x: on_arrays(model)(arrays, x))(x)
        ).lower(arrays, x[None]),
        QUEUED: queued(jax.jit),
    }


def on_arrays(model: Any) -> Callable[[list[jax.Array], jax.Array], jax.Array]:
    """The loss as a function of the flat list of the model's arrays."""
    leaves, treedef = jax.tree.flatten(model)

    def flat(arrays: list[jax.Array], x: jax.Array) -> jax.Array:
        given = iter(arrays)
        filled = [next(given) if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
        return loss(treedef.unflatten(filled), x)

    return flat
