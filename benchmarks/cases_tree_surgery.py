"""Tree surgery on the model of 12 blocks: edit, compare, print, save and load."""

import io
from collections.abc import Callable
from typing import Any

import jax
from case import Case, Thunk, peer
from model import build

import pytree_module
import tree_surgery


def cases() -> list[Case]:
    """Each case does the same to our model by our functions and to the peer's by the peer's."""
    model = build(pytree_module)
    ours = operations(tree_surgery, model)
    equinox = peer()
    file = io.BytesIO()
    tree_surgery.save(file, model)
    named = file.getvalue()
    theirs: dict[str, Thunk] = {} if equinox is None else operations(equinox, build(equinox))
    return [
        *(Case(name, ours[name], theirs.get(name), limit) for name, limit in LIMITS.items()),
        Case(
            "tree_set: one leaf, by exact path",
            lambda: tree_surgery.tree_set(model, "blocks[0].norm1.weight", 0),
            others={"our tree_at": lambda: tree_surgery.tree_at(leaf, model, 0)},
            limits={"our tree_at": 1.0},
        ),
        Case(
            "save the model by name, to memory",
            lambda: tree_surgery.save(io.BytesIO(), model),
            None if equinox is None else theirs["save the model, to memory"],
        ),
        Case(
            "load the model by name, from memory",
            lambda: waited(lambda: tree_surgery.load(io.BytesIO(named), model)),
            None if equinox is None else theirs["load the model, from memory"],
        ),
        Case("tree_set: every array, by type", lambda: tree_surgery.tree_set(model, jax.Array, 0)),
    ]


LIMITS: dict[str, float | None] = {
    "tree_at: one leaf": 0.2,
    "tree_at: one layer": None,
    "tree_equal: two equal models": 0.3,
    "tree_equal: they differ in the first array": None,
    "tree_pformat": 0.5,
    "tree_check": 1.0,
    "apply_updates": None,
    "save the model, to memory": 1.0,
    "load the model, from memory": 1.0,
}


def operations(library: Any, model: Any) -> dict[str, Thunk]:
    """What is timed, by `library` on `model`."""
    twin = jax.tree.map(copy, model)
    first = jax.tree.leaves(model)[0]
    other = library.tree_at(leaf, model, first + 1)
    updates = jax.tree.map(lambda x: x if isinstance(x, jax.Array) else None, model)
    saved = save(library, model).getvalue()

    def load() -> Any:
        return library.tree_deserialise_leaves(io.BytesIO(saved), model)

    return {
        "tree_at: one leaf": lambda: library.tree_at(leaf, model, 0),
        "tree_at: one layer": lambda: library.tree_at(layer, model, None),
        "tree_equal: two equal models": lambda: bool(library.tree_equal(model, twin)),
        "tree_equal: they differ in the first array": lambda: bool(
            library.tree_equal(model, other)
        ),
        "tree_pformat": lambda: library.tree_pformat(model),
        "tree_check": lambda: library.tree_check(model),
        "apply_updates": lambda: jax.block_until_ready(library.apply_updates(model, updates)),
        "save the model, to memory": lambda: save(library, model),
        "load the model, from memory": lambda: waited(load),
    }


def leaf(model: Any) -> Any:
    return model.blocks[0].norm1.weight


def layer(model: Any) -> Any:
    return model.blocks[6].mlp.up


def copy(x: Any) -> Any:
    return x + 0 if isinstance(x, jax.Array) else x


def save(library: Any, model: Any) -> io.BytesIO:
    file = io.BytesIO()
    library.tree_serialise_leaves(file, model)
    return file


def waited(load: Callable[[], Any]) -> Any:
    return jax.block_until_ready([x for x in jax.tree.leaves(load()) if isinstance(x, jax.Array)])
