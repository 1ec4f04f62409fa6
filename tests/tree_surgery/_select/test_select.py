"""Patterns and selectors: what they select, that they are a Boolean algebra, and their errors."""

import collections
import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Array, Float

from tree_surgery import Selector, WhereError, tree_paths, tree_select, where

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Linear:
    weight: Any
    bias: Any
    size: Any = dc.field(default=3, metadata={"static": True})


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Block:
    attn: Any
    mlp: Any


class Bag:
    """A custom node without key paths."""

    def __init__(self, *children):
        self.children = children


jtu.register_pytree_node(Bag, lambda bag: (bag.children, None), lambda _, xs: Bag(*xs))


@dc.dataclass(frozen=True)
class Config:
    """No node for JAX: a leaf, or a static value."""

    rate: float
    inner: Any = None


def block(i):
    bias = None if i == 1 else 10 * i + 2
    return Block(Linear(10 * i, bias), [Linear(10 * i + 4, 10 * i + 5), "gelu"])


MODEL = {
    "blocks": [block(0), block(1), block(2)],
    "table": {"a b": 100, "x.y": 101, 3: 102, ("t", 1): 103},
    "pair": Pair(200, Bag(201, 202, 203)),
    "config": Config(0.5, Config(0.25)),
    "norm": Linear(300, 301, size=Config(0.75, (7, 8))),
    "nothing": None,
    "empty": (),
}
del MODEL["table"][3], MODEL["table"][("t", 1)]  # keys that JAX cannot sort with the others
NUMBERS = {3: 102, -1: 104}
KEYS = {("t", 1): 103, ("s", 2): 105}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("blocks[0].attn.weight", [0]),
        ("blocks.0.attn.weight", [0]),
        ("['blocks'][0].attn.weight", [0]),
        ('["blocks"].[0].attn.weight', [0]),
        (".blocks[-1].attn.weight", [20]),
        ("blocks.*.attn.weight", [0, 10, 20]),
        ("blocks[*].attn.weight", [0, 10, 20]),
        ("*.*.attn.weight", [0, 10, 20]),
        ("blocks[0:2].attn.weight", [0, 10]),
        ("blocks[:-1].attn.weight", [0, 10]),
        ("blocks[::2].attn.weight", [0, 20]),
        ("blocks[1:].mlp[:1].bias", [15, 25]),
        ("**.weight", [0, 4, 10, 14, 20, 24, 300]),
        ("**.attn.**.weight", [0, 10, 20]),
        ("**.attn.**.**.weight", [0, 10, 20]),
        ("blocks.**.weight", [0, 4, 10, 14, 20, 24]),
        ("blocks[1].**", [10, 14, 15, "gelu"]),
        ("blocks.*.*.weight", [0, 10, 20]),
        ("blocks.?.attn.w*t", [0, 10, 20]),
        ("blocks.*.a*n.w*t", [0, 10, 20]),
        ("blocks[2].mlp[1]", ["gelu"]),
        ("table['a b']", [100]),
        ("table.a b", [100]),
        ('table["x.y"]', [101]),
        ("pair.left", [200]),
        ("pair.right[1]", [202]),
        ("pair.right[-1]", [203]),
        ("pair.right.0", [201]),
        ("pair.right[<flat index 2>]", [203]),
        ("pair.right[1:]", [202, 203]),
        # static fields and fields of dataclasses that JAX takes for leaves, written out
        ("norm.size.rate", [0.75]),
        ("norm.size.inner[1]", [8]),
        ("blocks[0].attn.size", [3]),
        ("blocks.*.attn.size", [3, 3, 3]),
        ("**.size", [3, 3, 3, 3, 3, 3, Config(0.75, (7, 8))]),
        ("config.rate", [0.5]),
        ("config.inner.rate", [0.25]),
        ("norm.*", [300, 301]),
        # `None`: an exact path only
        ("blocks[1].attn.bias", [None]),
        ("blocks.*.attn.bias", [2, 22]),
        ("nothing", [None]),
        ("empty", [()]),
    ],
)
def test_pattern(pattern, expected):
    assert list(tree_select(MODEL, pattern).values()) == expected


@pytest.mark.parametrize(
    ("tree", "pattern", "expected"),
    [
        (NUMBERS, "[3]", 102),
        (NUMBERS, "3", 102),
        (NUMBERS, "[-1]", 104),
        (KEYS, "[('t', 1)]", 103),
        (KEYS, "['t',1]", 103),
        ({"*": 1, "b": 2}, "['*']", 1),
        ({"it's": 1, "b]": 2}, '["it\'s"]', 1),
        ({"it's": 1, "b]": 2}, "['b]']", 2),
        (5, "<root>", 5),
        (5, "", 5),
        (5, "**", 5),
        ([5], "[True]", None),
        ({1: "a"}, "[True]", None),
    ],
)
def test_keys(tree, pattern, expected):
    if expected is None:
        with pytest.raises(WhereError, match="matches nothing"):
            tree_select(tree, pattern)
    else:
        assert list(tree_select(tree, pattern).values()) == [expected]


def test_paths_are_patterns_of_one_leaf():
    paths = tree_paths(MODEL)
    leaves = jax.tree.leaves(MODEL)
    assert len(paths) == len(leaves)
    for path, leaf in zip(paths, leaves, strict=True):
        assert tree_select(MODEL, path) == {path: leaf}
    assert tree_paths(MODEL, "blocks.*") == [f"['blocks'][{i}]" for i in range(3)]
    assert tree_paths(7) == ["<root>"]
    assert tree_paths([None, ()]) == []


# --- selectors -------------------------------------------------------------------------------

ARRAYS = {"w": jnp.ones((2, 3)), "n": np.ones(3), "i": jnp.arange(2), "f": 0.5, "s": [jnp.ones(2)]}


@pytest.mark.parametrize(
    ("tree", "selector", "expected"),
    [
        (
            MODEL,
            Linear,
            ["norm", *(f"blocks[{i}].{x}" for i in range(3) for x in ("attn", "mlp[0]"))],
        ),
        (MODEL, str, [f"blocks[{i}].mlp[1]" for i in range(3)]),
        (MODEL, Config, ["config"]),
        (MODEL, type(None), ["nothing", "blocks[1].attn.bias"]),
        (MODEL, Bag | Pair, ["pair"]),
        (MODEL, where.type(Bag), ["pair.right"]),
        (MODEL, [Bag, "norm.weight"], ["pair.right", "norm.weight"]),
        (MODEL, lambda path, leaf: "table" in path and leaf > 100, ["table['x.y']"]),
        (MODEL, where.type(Linear) & "norm", ["norm"]),
        (MODEL, where.type(Linear) & "norm.weight", ["norm.weight"]),
        (
            MODEL,
            "blocks[0]" & where.type(int) & ~where("**.weight"),
            ["blocks[0].attn.bias", "blocks[0].mlp[0].bias"],
        ),
        (MODEL, where.type(Linear) & ~where.path("blocks"), ["norm"]),
        (MODEL, where.type(Linear) & ~where.path("norm.bias") & "norm", ["norm.weight"]),
        (MODEL, "norm" | where.path("norm.bias"), ["norm"]),
        (MODEL, Linear | where.path("table.a b") & ~where.path("blocks"), None),
        (MODEL, where.path("nowhere", optional=True) | "pair.left", ["pair.left"]),
        (MODEL, where.path("nowhere", optional=True), []),
        (MODEL, ~where(lambda path, leaf: True), []),
        (ARRAYS, jax.Array, ["i", "s[0]", "w"]),
        (ARRAYS, Float[Array, "a b"], ["w"]),
        (ARRAYS, ~where.type(jax.Array, np.ndarray), ["f"]),
        (ARRAYS, lambda path, x: getattr(x, "ndim", 0) == 1 and x.dtype == jnp.int32, ["i"]),
    ],
)
def test_selector(tree, selector, expected):
    if expected is None:
        expected = ["table.a b", *tree_paths(MODEL, Linear)]
    paths = [path for pattern in expected for path in tree_paths(tree, pattern)]
    assert sorted(tree_select(tree, selector)) == sorted(paths)


TREE = {"a": [1, 2.0, {"b": 3, "c": "x"}], "d": (4.0, [5, Linear(6, 7.0)]), "e": None}
ATOMS = st.sampled_from(
    [
        where.path("a"),
        where.path("**.b"),
        where.path("a.**"),
        where.path("d[1]"),
        where.path("**"),
        where.type(int),
        where.type(Linear),
        where.type(list, float),
        where.leaf(lambda path, leaf: leaf in (1, 3, 5)),
        where.path("none", optional=True),
    ]
)
SELECTORS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda ab: ab[0] | ab[1]),
        st.tuples(inner, inner).map(lambda ab: ab[0] & ab[1]),
        inner.map(lambda a: ~a),
    ),
    max_leaves=5,
)
EVERY = frozenset(tree_paths(TREE))


def leaves(selector):
    """The leaves that a selector means, by their paths."""
    chosen = [tree_paths(node) for node in tree_select(TREE, selector).values()]
    roots = tree_select(TREE, selector)
    found = [
        ("" if root == "<root>" else root) + ("" if path == "<root>" else _joined(path))
        for root, paths in zip(roots, chosen, strict=True)
        for path in paths
    ]
    assert len(found) == len(set(found)), "one node is within another"
    return frozenset(found)


def _joined(path):
    return path if path.startswith("[") else f".{path}"


@given(SELECTORS, SELECTORS)
def test_boolean_algebra(a, b):
    assert leaves(a | b) == leaves(a) | leaves(b)
    assert leaves(a & b) == leaves(a) & leaves(b)
    assert leaves(~a) == EVERY - leaves(a)
    assert leaves(~~a) == leaves(a)
    assert isinstance(a & b, Selector) and repr(a & b).startswith("(")


def test_repr():
    selector = (where.path("a.*", optional=True) | Linear) & ~where.leaf(test_repr)
    assert repr(selector) == (
        "((where.path('a.*', optional=True) | where.type(Linear)) & ~where.leaf(test_repr))"
    )


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            "blocks.*.attn.wieght",
            ["At `blocks.*.attn` there is `weight`, `bias`, `size`", "`['blocks'][0].attn.weight`"],
        ),
        ("block[0]", ["At the root there is `['blocks']`", "`['blocks'][0]`"]),
        ("blocks[3].attn", ["At `blocks` there is `[0]`, `[1]`, `[2]`."]),
        ("table['ab']", ["`['table']['a b']`"]),
        ("**.wieght", ["The nearest paths are `['norm'].weight`"]),
        ("**.nothing.*", ["matches nothing"]),
        ("norm.weight.x", ["At `norm.weight` there is nothing below."]),
        ("noth*", ["there is `None`, which patterns with wildcards pass over"]),
    ],
)
def test_no_match_says_what_there_is(pattern, said):
    with pytest.raises(WhereError) as caught:
        tree_select(MODEL, pattern)
    message = str(caught.value)
    assert caught.value.selected == pattern
    for text in [f"`{pattern}` matches nothing", *said]:
        assert text in message, message


@pytest.mark.parametrize("pattern", ["a[0", "a..b", "..a", "a]", "[", "a."])
def test_unreadable_patterns(pattern):
    with pytest.raises(WhereError, match="cannot be read as a path"):
        tree_select({"a": [1]}, pattern)


@pytest.mark.parametrize("selector", [3, None, [], {"a": 1}])
def test_not_a_selector(selector):
    with pytest.raises(WhereError, match="must be a pattern such as"):
        tree_select(MODEL, selector)


@pytest.mark.parametrize("pattern", ["blocks[::0]", "blocks[0:2:0].mlp"])
def test_a_range_without_a_step(pattern):
    with pytest.raises(WhereError, match=r"The range `.*:0\]` has a step of 0"):
        tree_select(MODEL, pattern)


def test_a_function_of_the_whole_tree_is_no_selector():
    with pytest.raises(WhereError, match=r"`lambda path, leaf: ...`.* signature `\(m\)`.*tree_at"):
        tree_select(MODEL, lambda m: m.blocks)
    with pytest.raises(TypeError, match="one of its own"):  # errors within are left alone

        def predicate(path, leaf):
            raise TypeError("one of its own")

        tree_select(MODEL, predicate)
    assert tree_select([1, 2], lambda *args: args[1] == 2) == {"[1]": 2}


def test_every_pattern_of_a_combination_must_match():
    with pytest.raises(WhereError, match="`blokcs` matches nothing"):
        tree_select(MODEL, where.path("norm") | "blokcs")


def test_large_trees_are_no_trouble():
    tree = [{"w": i} for i in range(3000)]
    assert list(tree_select(tree, "[2999].w").values()) == [2999]
    assert len(tree_select(tree, "**.w")) == 3000
    with pytest.raises(WhereError, match=r"`\[7\]` and 2992 more"):
        tree_select(tree, "[3000].w")
