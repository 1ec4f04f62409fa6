"""`tree_set`, `tree_apply`, `at`: lens laws, a direct rebuild, static fields."""

import collections
import copy
import dataclasses as dc
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tree_surgery import (
    WhereError,
    at,
    tree_apply,
    tree_at,
    tree_paths,
    tree_select,
    tree_set,
    where,
)

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    size: Any = dc.field(default=3, metadata={"static": True})


class Bag:
    """A custom node without key paths."""

    def __init__(self, *children):
        self.children = children

    def __eq__(self, other):
        return type(other) is Bag and self.children == other.children


jtu.register_pytree_node(Bag, lambda bag: (bag.children, None), lambda _, xs: Bag(*xs))


SHARED = np.arange(3)  # one object, drawn many times


LEAVES = st.sampled_from([0, 1, 1.5, True, "name", SHARED, len, 257, ()])


KEYS = st.sampled_from(["a", "b c", "d.e", "*", "['", 'f"'])


def containers(children):
    pairs = st.tuples(children, children)
    return st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(KEYS, children, max_size=3),
        st.dictionaries(KEYS, children, max_size=3).map(collections.OrderedDict),
        st.dictionaries(KEYS, children, max_size=3).map(lambda d: collections.defaultdict(list, d)),
        st.dictionaries(st.integers(-2, 2), children, max_size=3),
        pairs.map(lambda xs: Pair(*xs)),
        pairs.map(lambda xs: Layer(*xs)),
        st.lists(children, max_size=3).map(lambda xs: Bag(*xs)),
        children.map(lambda x: [x, x]),  # one node in two places
    )


TREES = st.recursive(st.one_of(LEAVES, st.none()), containers, max_leaves=8)


def nodes(tree, path=()):
    """Every node with its key path, found without the code under test."""
    found = [(path, tree)]
    pairs, _ = jtu.tree_flatten_with_path(tree, is_leaf=lambda x, root=tree: x is not root)
    for key, x in pairs:
        if key:
            found += nodes(x, path + key)
    return found


def by_tree_at(tree, path, new):
    def follow(tree):
        for key in path:
            if isinstance(key, jtu.GetAttrKey):
                tree = getattr(tree, key.name)
            elif isinstance(key, jtu.FlattenedIndexKey):
                tree = tree.children[key.key]
            else:
                tree = tree[key.key if isinstance(key, jtu.DictKey) else key.idx]
        return tree

    return tree_at(follow, tree, new)


def identical(a, b):
    """The same structure and the very same leaves."""
    a_leaves, a_def = jtu.tree_flatten(a, is_leaf=lambda x: x is None)
    b_leaves, b_def = jtu.tree_flatten(b, is_leaf=lambda x: x is None)
    return a_def == b_def and all(x is y for x, y in zip(a_leaves, b_leaves, strict=True))


def pattern_of(path):
    return jtu.keystr(path).removeprefix(".") or "<root>"


@given(TREES, st.data())
def test_lens_laws_at_any_node(tree, data):
    path, node = data.draw(st.sampled_from(nodes(tree)))
    pattern = pattern_of(path)
    one, other = object(), [object()]
    assert at(tree)[pattern].get() is node
    assert identical(tree_set(tree, pattern, node), tree)  # set what was got
    new = tree_set(tree, pattern, one)
    assert at(new)[pattern].get() is one  # get what was set
    assert identical(tree_set(new, pattern, other), tree_set(tree, pattern, other))  # set twice
    assert at(tree_set(tree, pattern, other))[pattern].get() is other
    assert identical(tree_apply(tree, pattern, lambda x: [x]), tree_set(tree, pattern, [node]))
    if node is not None:
        assert identical(by_tree_at(tree, path, one), new)


PATTERNS = st.sampled_from(
    [
        where.path("**"),
        where.path("*", optional=True),
        where.path("**.weight", optional=True),
        where.path("[1:]", optional=True),
        where.path("**.*.a", optional=True),
        where.type(int),
        where.type(list, Layer),
        where.type(type(None)),
        ~where.type(list),
        where.leaf(lambda path, leaf: "0" in path),
    ]
)


@given(TREES, PATTERNS)
def test_lens_laws_of_many(tree, selector):
    if tree_paths(tree) == []:
        selector = where.type(list)
    selected = tree_select(tree, selector)
    assert identical(tree_set(tree, selected), tree)
    assert identical(tree_apply(tree, selector, lambda x: x), tree)
    new = tree_set(tree, selector, 99)
    assert all(at(new)[path].get() == 99 for path in selected)
    assert identical(tree_set(tree, dict.fromkeys(selected, 99)), new)
    rest = [path for path in tree_paths(tree) if path in tree_paths(new) and path not in selected]
    assert all(at(new)[path].get() is at(tree)[path].get() for path in rest)
    # the order of what is given to `fn` is that of the tree, and `fn` sees each once
    seen: list[Any] = []
    tree_apply(tree, selector, seen.append)
    assert len(seen) == len(selected)
    assert all(x is y for x, y in zip(seen, selected.values(), strict=True))


def test_the_input_is_left_alone_and_shares_no_container():
    tree = {"a": [1, [2]], "b": {"c": [3]}}
    before = copy.deepcopy(tree)
    new = tree_set(tree, "a[0]", 5)
    new["b"]["c"].append(4)
    new["a"][1].append(4)
    assert tree == before


def test_the_value_is_kept_as_it_is():
    value = {"deep": [1, (2,)]}
    assert tree_set([0, 1], "[0]", value)[0] is value
    assert tree_set([0, 1], "", value) is value


def test_mapping():
    tree = {"layers": [1, (2, 3.0)], "scale": None}
    new = tree_set(tree, {"layers[0]": 7, "scale": 2, float: 0.0})
    assert new == {"layers": [7, (2, 0.0)], "scale": 2}
    assert tree_set(tree, {}) == tree


@pytest.mark.parametrize(
    "changes", [{"a": 1, "a[0]": 2}, {"a[0]": 2, "a": 1}, {"a[0]": 1, int: 2}, {"**": 1, "a[1]": 2}]
)
def test_two_values_for_one_place(changes):
    with pytest.raises(WhereError, match=r"two values for `\['a'\]"):
        tree_set({"a": [1, 2]}, changes)


def test_wrong_use():
    with pytest.raises(WhereError, match="needs a value, or a mapping"):
        tree_set([1], "[0]")
    with pytest.raises(WhereError, match="matches nothing"):
        tree_set([1], "[1]", 0)
    with pytest.raises(WhereError, match="matches nothing"):
        at([1])["[1]"].get()
    with pytest.raises(ZeroDivisionError) as caught:
        tree_apply({"a": [1, 0]}, "a.*", lambda x: 1 / x)
    assert "`['a'][1]`" in caught.value.__notes__[0]


def test_at():
    tree = {"layers": [Layer(1, 2), Layer(3, None)]}
    assert at(tree)["layers[1]"].get() == Layer(3, None)
    assert at(tree)["layers[1].bias"].get() is None
    assert at(tree)["layers.*.bias"].get() == {"['layers'][0].bias": 2}
    assert at(tree)[Layer].apply(lambda x: x.weight) == {"layers": [1, 3]}
    assert at(tree)["layers[0:1].weight"].set(9) == {"layers": [Layer(9, 2), Layer(3, None)]}


def test_under_jit_and_grad():
    @jax.jit
    def double(tree):
        return tree_apply(tree, "layers.*.weight", lambda w: 2 * w)

    tree = {"layers": [Layer(jnp.arange(3.0), jnp.ones(1)), Layer(jnp.ones(2), None)]}
    new = double(tree)
    assert new["layers"][0].weight.tolist() == [0, 2, 4]
    assert new["layers"][0].bias.tolist() == [1]
    gradient = jax.grad(lambda t: at(double(t))["layers[0].weight"].get().sum())(tree)
    assert gradient["layers"][0].weight.tolist() == [2, 2, 2]
    assert gradient["layers"][1].weight.tolist() == [0, 0]


@dc.dataclass(frozen=True)
class Config:
    rate: float
    shape: Any = (1, 2)


# https://github.com/patrick-kidger/equinox/issues/214
# https://github.com/patrick-kidger/equinox/issues/460
def test_static_fields():
    tree = {"layers": [Layer(1, 2), Layer(3, 4, size=Config(0.5))], "config": Config(0.1)}
    assert at(tree)["layers[0].size"].get() == 3
    new = tree_set(tree, "layers.*.size", 8)
    assert new["layers"] == [Layer(1, 2, 8), Layer(3, 4, 8)]
    assert jtu.tree_structure(new) == jtu.tree_structure(tree_set(new, "layers[0].weight", 0))
    assert tree_set(tree, "layers[1].size.rate", 0.9)["layers"][1] == Layer(3, 4, Config(0.9))
    new = tree_apply(tree, "layers[1].size.shape[0]", lambda n: n + 1)
    assert new["layers"][1].size == Config(0.5, (2, 2))
    assert tree_set(tree, "config.rate", 0.2)["config"] == Config(0.2)
    both = tree_set(tree, {"layers[0].size": 0, "layers[0].weight": 9, "config.shape": 1})
    assert both["layers"][0] == Layer(9, 2, 0) and both["config"] == Config(0.1, 1)
    assert tree["layers"][0] == Layer(1, 2) and tree["config"] == Config(0.1)


@jtu.register_pytree_node_class
@dc.dataclass
class Forgetful:
    """Rebuilt by JAX, it lacks a field that it had."""

    cache: Any
    child: Any
    name: str

    def tree_flatten(self):
        return [self.child], self.name

    @classmethod
    def tree_unflatten(cls, name, children):
        new = object.__new__(cls)
        (new.child,), new.name = children, name
        return new


def test_fields_that_are_lost():
    tree = [Forgetful("cached", 1, "old")]
    assert at(tree)["[0].cache"].get() == "cached"
    new = tree_set(tree, "[0].name", "new")[0]
    assert (new.child, new.name) == (1, "new") and not hasattr(new, "cache")
    assert tree_set(tree, "[0].cache", 7)[0].cache == 7
    assert tree_paths([new], where.path("**.cache", optional=True)) == []
