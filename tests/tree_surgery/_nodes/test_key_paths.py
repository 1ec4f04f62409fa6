"""`path_str`: a path is the expression that reaches the node."""

import collections
import dataclasses as dc
from typing import Any

import jax.tree_util as jtu

from tree_surgery import path_str

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None


def test_path_str():
    tree = Layer([{"a b": (0,)}, Pair(1, Layer(2, 3))])
    paths = [path_str(path) for path, _ in jtu.tree_leaves_with_path(tree)]
    assert paths == [
        "weight[0]['a b'][0]",
        "weight[1].left",
        "weight[1].right.weight",
        "weight[1].right.bias",
    ]
    assert path_str(()) == "<root>"
    for text, (_, leaf) in zip(paths, jtu.tree_leaves_with_path(tree), strict=True):
        assert eval(f"tree.{text}", {"tree": tree}) is leaf
