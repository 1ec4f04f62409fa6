"""The cost of a call whose arguments and results have their places, beyond that of `jax.jit`.

On a mesh of all devices of the process, which is one unless XLA_FLAGS say otherwise.
"""

from typing import Any

import jax
from case import Case
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from model import batch, build

import pytree_module
from filtered_transforms import filter_device_put, filter_jit, filter_value_and_grad

FLAT = "plain JAX"  # `jax.jit` with the same shardings, on the flat list of the same arrays


def cases() -> list[Case]:
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    copied = NamedSharding(mesh, P())
    model, x = filter_device_put((build(pytree_module), batch()), copied)
    where: dict[str, Any] = {"in_shardings": copied, "out_shardings": copied}
    leaves, treedef = jax.tree.flatten(model)
    is_array = [isinstance(leaf, jax.Array) for leaf in leaves]
    arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]

    def step(model: Any, x: Any) -> Any:
        loss, grads = filter_value_and_grad(lambda model: model(x).sum())(model)
        new = jax.tree.map(lambda p, g: p - 0.1 * g if g is not None else p, model, grads)
        return new, loss

    def flat(arrays: list[Any], x: Any) -> Any:
        given = iter(arrays)
        merged = [next(given) if a else b for a, b in zip(is_array, leaves, strict=True)]
        new, loss = step(treedef.unflatten(merged), x)
        return [leaf for leaf in jax.tree.leaves(new) if isinstance(leaf, jax.Array)], loss

    def add_one(tree: Any) -> Any:
        return jax.tree.map(lambda a: a + 1 if isinstance(a, jax.Array) else a, tree)

    ours, plain = filter_jit(step, **where), jax.jit(flat, **where)
    moved, moved_flat = filter_jit(add_one, **where), jax.jit(add_one, **where)
    return [
        Case(
            "sharded step of the model of 12 blocks",
            lambda: jax.block_until_ready(ours(model, x)[1]),
            others={FLAT: lambda: jax.block_until_ready(plain(arrays, x)[1])},
            limits={FLAT: 1.3},
        ),
        Case(
            "sharded model in and out",
            lambda: moved(model),
            others={FLAT: lambda: moved_flat(arrays)},
            limits={FLAT: 1.7},
        ),
    ]
