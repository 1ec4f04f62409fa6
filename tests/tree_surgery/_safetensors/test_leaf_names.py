"""What leaves are called in a file: dotted paths, and each name once."""

import collections
import dataclasses as dc
import io
from typing import Any, NamedTuple

import jax.tree_util as jtu
import numpy as np
import pytest

import tree_surgery as ts
from tree_surgery import SerialiseError, load_state_dict, tree_equal


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    name: str = dc.field(default="linear", metadata={"static": True})


class Pair(NamedTuple):
    one: Any
    other: Any


class Keyless:
    def __init__(self, *children):
        self.children = children


jtu.register_pytree_node(Keyless, lambda x: (x.children, None), lambda _, c: Keyless(*c))


@jtu.register_pytree_with_keys_class
class Keyed:
    """A node whose keys are a little of everything."""

    KEYS = (jtu.GetAttrKey("x"), jtu.DictKey(("a", 1)), jtu.SequenceKey(0), jtu.DictKey("a.b[0]"))

    def __init__(self, children):
        self.children = children

    def tree_flatten_with_keys(self):
        return list(zip(self.KEYS, self.children, strict=False)), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(tuple(children))


def test_names_are_dotted_paths(saved):
    tree = {
        "layers": [Linear(np.ones(1), None), Pair(np.ones(1), 2)],
        "a.b": np.ones(1),
        "": Keyless(np.ones(1), np.ones(1)),
    }
    assert set(load_state_dict(io.BytesIO(saved(tree)))) == {
        "layers.0.weight",
        "layers.1.one",
        "layers.1.other",
        "a.b",
        "[''].0",
        "[''].1",
    }
    assert list(load_state_dict(io.BytesIO(saved(np.ones(1))))) == ["<root>"]
    for name in load_state_dict(io.BytesIO(saved(tree["layers"]))):
        assert len(ts.tree_select(tree["layers"], name)) == 1  # names are patterns too


def test_names_that_would_be_the_same(saved, loaded):
    tree = {"x": collections.OrderedDict([(0, np.zeros(1)), ("0", np.ones(1))])}
    tree |= {"a.b": 1, "a": {"b": 2}, "a.c": 3}
    assert tree_equal(loaded(saved(tree), tree), tree)
    assert {"['a.b']", "['a']['b']", "a.c"} < load_state_dict(io.BytesIO(saved(tree))).keys()
    twins = Keyed((1, 2))
    twins.KEYS = (jtu.GetAttrKey("x"),) * 2
    with pytest.raises(SerialiseError, match="Two leaves have the same path `x`"):
        saved(twins)
