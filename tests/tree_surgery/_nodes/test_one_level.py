"""`tree_flatten_one_level`."""

import collections
import dataclasses as dc
from typing import Any

import jax.tree_util as jtu
import pytest

from tree_surgery import tree_flatten_one_level

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None


@pytest.mark.parametrize(
    ("tree", "children"),
    [
        (1, [1]),
        ("abc", ["abc"]),
        (None, []),
        ((), []),
        ([(), None], [(), None]),
        ((1, (2, [3])), [1, (2, [3])]),
        ({"b": 1, "a": (2,)}, [(2,), 1]),
        (Pair(1, [2]), [1, [2]]),
        (Layer((1,)), [(1,), None]),
        ([[], [[]]], [[], [[]]]),
    ],
)
def test_flatten_one_level(tree, children):
    found, treedef = tree_flatten_one_level(tree)
    assert found == children
    assert treedef.unflatten(found) == tree
    assert treedef == jtu.tree_structure(treedef.unflatten(range(len(found))))


def test_flatten_one_level_of_itself():
    tree = []
    tree.append(tree)
    with pytest.raises(ValueError, match="its own child"):
        tree_flatten_one_level(tree)
