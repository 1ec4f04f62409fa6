"""`first_difference`: the place and the kind of the first difference, and what is not compared."""

import dataclasses as dc
import math
import operator
import pickle
from typing import Any

import jax.tree_util as jtu
import pytest

from tree_surgery import path_str
from tree_surgery.extend import first_difference


@jtu.register_dataclass
@dc.dataclass
class Layer:
    weight: Any
    name: Any = dc.field(default="layer", metadata={"static": True})


class Opaque:
    """A node whose static part is no field."""

    def __init__(self, child, aux):
        self.child, self.aux = child, aux


jtu.register_pytree_node(Opaque, lambda x: ([x.child], x.aux), lambda aux, xs: Opaque(*xs, aux))


@pytest.mark.parametrize(
    ("one", "other", "path", "kind"),
    [
        ([1, (2, 3)], [1, [2, 3]], "[1]", "type"),
        ([1, None], [1, 2], "[1]", "type"),
        ({"a": [1]}, {"a": [1, 2]}, "['a']", "keys"),
        ({"a": 1}, {"b": 1}, "<root>", "keys"),
        ([Layer(1), Layer(2)], [Layer(1), Layer(2, "other")], "[1].name", "field"),
        ([Opaque(1, "x")], [Opaque(1, "y")], "[0]", "static"),
        ([Layer([1], "x")], [Layer((1,), "y")], "[0].name", "field"),  # before what is below
    ],
)
def test_structures(one, other, path, kind):
    found = first_difference(one, other)
    assert found is not None
    assert (path_str(found.path), found.kind) == (path, kind)
    back = first_difference(other, one)
    assert (back.path, back.kind, back.one, back.other) == (
        found.path,
        kind,
        found.other,
        found.one,
    )


def test_leaves_are_compared_only_if_asked():
    one, other = {"a": [1, 2], "b": 3}, {"a": [1, 5], "b": 4}
    assert first_difference(one, other) is None
    found = first_difference(one, other, operator.eq)
    assert (path_str(found.path), found.one, found.other, found.kind) == ("['a'][1]", 2, 5, "leaf")
    assert first_difference(one, other, lambda x, y: True) is None
    assert pickle.loads(pickle.dumps(found)) == found


def test_what_is_skipped():
    one, other = [1, {"a": (2, 3)}, 4], [1, {"a": None}, 4]
    assert first_difference(one, other).kind == "type"
    assert first_difference(one, other, operator.eq, skip=lambda x, y: y is None) is None


def test_static_values_that_are_compared_by_another_rule():
    one, other = Layer(1, (math.nan, "x")), Layer(1, (math.nan, "y"))
    assert path_str(first_difference(one, other).path) == "name"
    # If no field differs by that rule, the node does.
    assert first_difference(one, other, static_equal=lambda x, y: True).kind == "static"


def test_a_node_that_contains_itself():
    tree: list[Any] = []
    tree.append(tree)
    with pytest.raises(ValueError, match="its own child"):
        first_difference(tree, tree)
