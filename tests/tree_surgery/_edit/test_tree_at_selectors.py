"""`tree_at` with a pattern, a type or another selector: as `tree_set` does it."""

import dataclasses as dc
from typing import Any

import jax.tree_util as jtu
import pytest

from tree_surgery import (
    WhereError,
    tree_at,
    tree_set,
    where,
)


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    size: Any = dc.field(default=3, metadata={"static": True})


def test_tree_at_with_a_pattern():
    tree = {"layers": [Layer(1, 2), Layer(3, None)], "scale": None}
    assert tree_at("layers[0].weight", tree, 9) == tree_set(tree, "layers[0].weight", 9)
    assert tree_at("scale", tree, [1, 2])["scale"] == [1, 2]
    assert tree_at("layers[0].size", tree, 5)["layers"][0] == Layer(1, 2, 5)
    assert tree_at("layers[0].weight", tree, replace_fn=lambda x: [x])["layers"][0].weight == [1]
    new = tree_at("layers.*.weight", tree, [8, 9])
    assert new["layers"] == [Layer(8, 2), Layer(9, None)]
    new = tree_at(where.path("**.weight") | "**.bias", tree, replace_fn=lambda x: -x)
    assert new["layers"] == [Layer(-1, -2), Layer(-3, None)]
    assert tree_at(Layer, tree, replace_fn=lambda x: x.weight)["layers"] == [1, 3]
    assert tree_at(where.type(str), tree, []) == tree


def test_tree_at_with_a_pattern_wrongly():
    tree = {"layers": [Layer(1, 2), Layer(3, None)]}
    with pytest.raises(WhereError, match="must be a sequence of length 2 too"):
        tree_at("layers.*.weight", tree, 0)
    with pytest.raises(WhereError, match="matches nothing"):
        tree_at("layers.*.wieght", tree, [0, 1])
    with pytest.raises(ValueError, match="Exactly one"):
        tree_at("layers", tree)
