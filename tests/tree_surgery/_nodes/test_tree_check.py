"""`tree_check`: repeated nodes and cycles are found, and nothing else."""

import collections
import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

from tree_surgery import tree_check

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any = None


ARRAY = jnp.ones(2)


# https://github.com/patrick-kidger/equinox/issues/477
@pytest.mark.parametrize(
    "shared",
    [
        None,
        (),
        [],
        {},
        1,
        "text",
        len,
        ARRAY,
        np.ones(2),
        (1, 2),
        ((0, 0), (1, 1)),
        Pair("same", 1.5),
        (None, ()),
        jax.ShapeDtypeStruct((), jnp.float32),
    ],
)
def test_check_lets_pass(shared):
    tree_check({"a": [shared, shared], "b": (shared, [shared])})


@pytest.mark.parametrize(
    "shared", [[1], {"k": 1}, Layer(1), (ARRAY,), Pair([1], 2), ((1, ARRAY), 2), (np.ones(2),)]
)
def test_check_finds_one_node_in_two_places(shared):
    with pytest.raises(ValueError, match=rf"`{type(shared).__name__}` at .*same object") as info:
        tree_check({"a": [0, shared], "b": shared})
    assert "['a'][1]" in str(info.value)
    assert "['b']" in str(info.value)


def test_check_finds_cycles():
    tree = []
    tree.append(tree)
    with pytest.raises(ValueError, match=r"own child|contains itself"):
        tree_check([tree])
    inner: list[Any] = [1]
    outer = {"inner": inner}
    inner.append(outer)
    with pytest.raises(ValueError, match=r"`dict` at `<root>` contains itself, at `\['inner'\]"):
        tree_check(outer)
