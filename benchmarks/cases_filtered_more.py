"""How the cost of a call grows with the leaves, and the transformations beside `filter_jit`."""

from typing import Any

import jax
import jax.numpy as jnp
from case import Case, Thunk, peer
from model import build

import filtered_transforms as ft
import pytree_module

FLAT = "plain JAX"
LEAVES = (10, 100, 1000, 10_000)


def cases() -> list[Case]:
    return [*(leaves_case(count) for count in LEAVES), pmap_case(), *scan_cases()]


def first_of(tree: Any) -> jax.Array:
    return jax.tree.leaves(tree)[0] + 1


def leaves_case(count: int) -> Case:
    """Modules of ten leaves, of which one is a string and one a number, so that 8 are arrays."""

    def call(library: Any, modules: Any) -> Thunk:
        class Ten(modules.Module):
            arrays: list[jax.Array]
            name: str
            rate: float

        tens = [Ten([jnp.float32(i) for i in range(8)], "ten", 0.5) for _ in range(count // 10)]
        jitted = library.filter_jit(first_of)
        return lambda: jitted(tens)

    equinox = peer()
    arrays, jitted = [jnp.float32(i) for i in range(count * 8 // 10)], jax.jit(first_of)
    return Case(
        f"filter_jit: {count} leaves in, scalar out",
        call(ft, pytree_module),
        call(equinox, equinox) if equinox else None,
        others={FLAT: lambda: jitted(arrays)},
    )


def pmap_case() -> Case:
    def call(library: Any, modules: Any) -> Thunk:
        model, x = build(modules), jnp.ones((1, 4, 8))
        mapped = library.filter_pmap(lambda m, x: m(x), in_axes=(None, 0))
        return lambda: mapped(model, x)

    equinox = peer()
    return Case(
        "filter_pmap: model in, scalar out",
        call(ft, pytree_module),
        call(equinox, equinox) if equinox else None,
    )


def scan_cases() -> list[Case]:
    """A block as the carry of a scan, called eagerly: the cost of finding the compiled loop."""
    block = build(pytree_module).blocks[0]
    leaves, treedef = jax.tree.flatten(block)
    xs = jnp.ones((10, 4, 8))

    def step(block: Any, x: jax.Array) -> Any:
        return block, block(x).sum()

    def flat(arrays: list[jax.Array], x: jax.Array) -> Any:
        given = iter(arrays)
        filled = [next(given) if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
        return arrays, step(treedef.unflatten(filled), x)[1]

    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    return [
        Case(
            "filter_scan: block as carry, ten steps, eager",
            lambda: ft.filter_scan(step, block, xs),
            others={FLAT: lambda: jax.lax.scan(flat, arrays, xs)},
        ),
    ]
