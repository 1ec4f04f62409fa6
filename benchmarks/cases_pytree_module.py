"""The module core: making, reading, flattening and defining modules."""

from collections.abc import Callable
from typing import Any

import jax
from case import Case, peer
from model import build

import pytree_module


def _small(namespace: Any) -> tuple[Callable[[], Any], ...]:
    class Generated(namespace.Module):
        x: int
        y: int

        def method(self) -> None:
            pass

    class Own(namespace.Module):
        x: int
        y: int

        def __init__(self, x: int, y: int):
            self.x = x
            self.y = y

    def define() -> type:
        class Defined(namespace.Module):
            x: int
            y: int = 3

            def method(self) -> None:
                pass

        return Defined

    made = Generated(1, 2)
    return lambda: Generated(1, 2), lambda: Own(1, 2), lambda: made.method(), define


def _model(namespace: Any) -> tuple[Callable[[], Any], ...]:
    model = build(namespace)
    leaves, treedef = jax.tree_util.tree_flatten(model)
    return (
        lambda: jax.tree_util.tree_flatten(model),
        lambda: jax.tree_util.tree_unflatten(treedef, leaves),
        lambda: jax.tree_util.tree_flatten_with_path(model),
        lambda: build(namespace),
    )


_SMALL = (
    ("construct two fields, generated __init__", 0.3),
    ("construct two fields, own __init__", 0.4),
    ("read a bound method and call it", 0.1),
    ("define a Module class", 0.5),
)
_MODEL = (
    ("tree_flatten, 144 arrays", 0.3),
    ("tree_unflatten, 144 arrays", 0.5),
    ("tree_flatten_with_path, 144 arrays", 0.5),
    ("define the classes and build the model", None),
)


def cases() -> list[Case]:
    other = peer()
    found: list[Case] = []
    for names, make in ((_SMALL, _small), (_MODEL, _model)):
        theirs = make(other) if other else (None,) * len(names)
        for (name, limit), ours, peers in zip(names, make(pytree_module), theirs, strict=True):
            found.append(Case(name, ours, peers, limit))
    return found
