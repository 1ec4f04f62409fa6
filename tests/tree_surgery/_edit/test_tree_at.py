"""`tree_at`: against a direct rebuild, as a lens, and every way to use it wrongly."""

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

import tree_surgery as ts
from tree_surgery import WhereError, tree_at

Pair = collections.namedtuple("Pair", "left right")


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    size: Any = dc.field(default=3, metadata={"static": True})


class Bag:
    """A custom node without key paths, whose children are not attributes."""

    def __init__(self, *children):
        self.children = children

    def __eq__(self, other):
        return type(other) is Bag and self.children == other.children


jtu.register_pytree_node(Bag, lambda bag: (bag.children, None), lambda _, xs: Bag(*xs))


@jtu.register_static
@dc.dataclass(frozen=True)
class Nothing:
    """A node without children."""


def is_none(x):
    return x is None


# --- against a direct rebuild ----------------------------------------------------------------

SHARED = np.arange(3)  # one object, drawn many times
LEAVES = st.sampled_from([0, 1, 1.5, True, "name", SHARED, len, 257, -5])


def containers(children):
    pairs = st.tuples(children, children)
    return st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from("abc"), children, max_size=3),
        st.dictionaries(st.sampled_from("abc"), children, max_size=3).map(collections.OrderedDict),
        st.dictionaries(st.sampled_from("abc"), children, max_size=3).map(
            lambda d: collections.defaultdict(list, d)
        ),
        pairs.map(lambda xs: Pair(*xs)),
        pairs.map(lambda xs: Layer(*xs)),
        st.lists(children, max_size=3).map(lambda xs: Bag(*xs)),
        children.map(lambda x: [x, x]),  # one node in two places
        st.just(Nothing()),
    )


TREES = st.recursive(st.one_of(LEAVES, st.none()), containers, max_leaves=8)


def child(node, key):
    if isinstance(key, jtu.GetAttrKey):
        return getattr(node, key.name)
    if isinstance(key, jtu.FlattenedIndexKey):
        return node.children[key.key]
    return node[key.key if isinstance(key, jtu.DictKey) else key.idx]


def follow(path):
    def where(tree):
        for key in path:
            tree = child(tree, key)
        return tree

    return where


def rebuild(node, path, new):
    """The tree with `new` at `path`, by hand: one level after the other."""
    if not path:
        return new
    key, *rest = path
    new = rebuild(child(node, key), rest, new)
    if isinstance(key, jtu.GetAttrKey):
        if isinstance(node, Pair):
            return node._replace(**{key.name: new})
        return dc.replace(node, **{key.name: new})
    if isinstance(node, Bag):
        return Bag(*[new if i == key.key else x for i, x in enumerate(node.children)])
    if isinstance(node, Pair):
        return Pair(*[new if i == key.idx else x for i, x in enumerate(node)])
    if isinstance(node, list | tuple):
        return type(node)([new if i == key.idx else x for i, x in enumerate(node)])
    copy = node.copy()
    copy[key.key] = new
    return copy


def nodes(tree):
    """Every node, with its path, in one list."""
    found = [((), tree)]
    pairs, _ = jtu.tree_flatten_with_path(tree, is_leaf=lambda x, root=tree: x is not root)
    for path, x in pairs:
        if path:
            found += [(path + rest, y) for rest, y in nodes(x)]
    return found


def identical(a, b):
    """The same structure and the very same leaves."""
    a_leaves, a_def = jtu.tree_flatten(a, is_leaf=is_none)
    b_leaves, b_def = jtu.tree_flatten(b, is_leaf=is_none)
    return a_def == b_def and all(x is y for x, y in zip(a_leaves, b_leaves, strict=True))


@given(TREES, st.data())
def test_any_node_of_any_tree(tree, data):
    path, node = data.draw(st.sampled_from(nodes(tree)))
    where = follow(path)
    new = object()
    is_leaf = is_none if node is None else None
    expected = rebuild(tree, path, new)
    before = jtu.tree_flatten(tree, is_leaf=is_none)

    result = tree_at(where, tree, new, is_leaf=is_leaf)

    assert identical(result, expected)
    assert where(result) is new  # get after set
    after = jtu.tree_flatten(tree, is_leaf=is_none)
    assert before[1] == after[1]
    assert all(x is y for x, y in zip(before[0], after[0], strict=True))
    # set what was got; set twice
    assert identical(tree_at(where, tree, replace_fn=lambda x: x, is_leaf=is_leaf), tree)
    twice = tree_at(where, tree_at(where, tree, 0, is_leaf=is_leaf), new, is_leaf=is_leaf)
    assert identical(twice, expected)


@given(TREES, st.data())
def test_any_two_nodes(tree, data):
    (path, x), (other, y) = (data.draw(st.sampled_from(nodes(tree))) for _ in range(2))
    nested = path[: len(other)] == other or other[: len(path)] == path
    wheres = follow(path), follow(other)

    def both(t):
        return [w(t) for w in wheres]

    if nested:
        with pytest.raises(WhereError):
            tree_at(both, tree, (1, 2), is_leaf=is_none)
    else:
        one, two = object(), object()
        expected = rebuild(rebuild(tree, path, one), other, two)
        assert identical(tree_at(both, tree, (one, two), is_leaf=is_none), expected)
        swapped = tree_at(both, tree, (y, x), is_leaf=is_none)
        assert identical(swapped, rebuild(rebuild(tree, path, y), other, x))


# --- one case each ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "tree", "replace", "expected"),
    [
        (lambda t: t[1], [1, 1, 1], 5, [1, 5, 1]),
        (lambda t: t[0], [(), ()], "new", ["new", ()]),
        (lambda t: (t[0], t[1]), [(), ()], (1, 2), [1, 2]),
        (lambda t: t[1], [[], {}, ()], 1, [[], 1, ()]),
        (lambda t: t, (3, 4), 9, 9),
        (lambda t: t[:], (3, 4), 9, 9),  # Python gives the very same tuple
        (lambda t: t[:1], (3, 4), (9,), (9, 4)),
        (lambda t: (t,), 3, (9,), 9),
        (lambda t: [], (3, 4), [], (3, 4)),
        (lambda t: (), (3, (), 4), (), (3, (), 4)),
        (lambda t: (t[0], [t[1], t[2]]), [3, 4, 5], (1, [2, 9]), [1, 2, 9]),
        (lambda t: Pair(t[1], t[0]), [3, 4], Pair(1, 2), [2, 1]),
        (lambda t: t[0], [(1, 2), 3], None, [None, 3]),
        (lambda t: t.bias, Layer(1, None), 2, Layer(1, 2)),
        (lambda t: (t.weight, t.bias), Layer(1, None), (2, 3), Layer(2, 3)),
        (lambda t: t[0], [(None,), None], 1, [1, None]),
        (lambda t: [t[1], t[0]], [3, [4]], [5, 6], [6, 5]),
        (jax.tree.leaves, (3, (4, 5)), [1, 2, 3], (1, (2, 3))),
        (lambda t: [t[0], t[1]], [3, 4], np.array([1, 2]), [1, 2]),
        (lambda t: t["k"], {"k": Nothing(), "j": Nothing()}, 1, {"k": 1, "j": Nothing()}),
    ],
)
def test_cases(where, tree, replace, expected):
    assert tree_at(where, tree, replace) == expected


def test_none_by_position():
    tree = [None, 1, None]
    assert tree_at(lambda t: t[2], tree, 5, is_leaf=is_none) == [None, 1, 5]
    assert tree_at(lambda t: (t[0], t[1]), tree, (5, None), is_leaf=is_none) == [5, None, None]


def test_is_leaf_makes_leaves_of_nodes():
    def is_tuple(x):
        return isinstance(x, tuple)

    assert tree_at(lambda t: t[0], [(1, 2), (1, 2)], 0, is_leaf=is_tuple) == [0, (1, 2)]
    assert tree_at(lambda t: t[1], [(), ()], 0, is_leaf=is_tuple) == [(), 0]
    with pytest.raises(WhereError, match="only the structure"):
        tree_at(lambda t: t[0][0], [(1, 2)], 0, is_leaf=is_tuple)


def test_replace_fn_gets_the_very_nodes():
    array, layer = jnp.arange(2), Layer(1, 2)
    tree = [array, layer, (), None]
    got = []
    result = tree_at(lambda t: [t[0], (t[1], t[2])], tree, replace_fn=lambda x: got.append(x))
    assert got[0] is array
    assert got[1] is layer
    assert got[2] == ()
    assert result == [None, None, None, None]


def test_one_array_in_two_places():
    array = jnp.arange(2)
    first, second = tree_at(lambda t: t[1], [array, array], 0)
    assert first is array
    assert second == 0


def test_under_jit():
    @jax.jit
    def f(tree):
        return tree_at(lambda t: t["a"], tree, replace_fn=lambda x: x + 1)

    assert f({"a": 1.0, "b": 1.0}) == {"a": 2.0, "b": 1.0}


# https://github.com/patrick-kidger/equinox/issues/1035
def test_default_none_of_a_field():
    assert tree_at(lambda m: m.bias, Layer(jnp.ones(2), None), 0.0).bias == 0.0


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "tree", "message"),
    [
        (lambda t: 7, (3, 4), "chose `7`"),
        (lambda t: 3, (3, 4), "chose `3`"),
        (lambda t: None, (3, 4), "chose `None`"),
        (lambda t: {"a": t[0]}, (3, 4), "list or a tuple"),
        (lambda t: t[0] + 1, (3, 4), "only the structure"),
        (lambda t: t[0] if t[1] > 3 else t[1], (3, 4), "only the structure"),
        (lambda t: [x for x in t if x == 3], (3, 4), "only the structure"),
        (lambda t: [x for x in t if isinstance(x, int)], (3, 4), "only the structure"),
        (lambda t: t[0] if isinstance(t[0], int) else t[1], (3, 4), "only the structure"),
        (lambda t: t[0].shape, (jnp.ones(2), 4), "no `shape`"),
        (lambda t: [t[0], t[0]], (3, 4), r"twice: `\[0\]`"),
        (lambda t: [t[0], t[0][1]], ((3, 4), 5), r"`\[0\]\[1\]` and also a node around"),
        (lambda t: t[0], (None, None), "2 of them.*is_leaf=lambda x: x is None"),
        (lambda t: t.pop(), [1, 2], "changed it"),
        (lambda t: t.setdefault("b", 1), {"a": 1}, "changed it"),
    ],
)
def test_where_is_wrong(where, tree, message):
    before = repr(tree)
    with pytest.raises(WhereError, match=message):
        tree_at(where, tree, 0)
    assert repr(tree) == before


@pytest.mark.parametrize("replace", [1, (1,), (1, 2, 3), iter([1, 2]), None])
def test_lengths_differ(replace):
    with pytest.raises(WhereError, match=r"sequence of 2 nodes.*length 2"):
        tree_at(lambda t: (t[0], t[1]), [3, 4], replace)


@pytest.mark.parametrize("arguments", [{}, {"replace": 1, "replace_fn": abs}])
def test_one_of_replace_and_replace_fn(arguments):
    with pytest.raises(ValueError, match="Exactly one"):
        tree_at(lambda t: t[0], [3], **arguments)


@pytest.mark.parametrize(
    ("where", "error"), [(lambda t: t.absent, AttributeError), (lambda t: t[9], IndexError)]
)
def test_what_where_raises_is_raised(where, error):
    with pytest.raises(error):
        tree_at(where, (1, 2), 0)


# https://github.com/patrick-kidger/equinox/issues/214, https://github.com/patrick-kidger/equinox/issues/460
@pytest.mark.parametrize("value", [3, (1, 2), "same"])
def test_static_field(value):
    with pytest.raises(WhereError) as info:
        tree_at(lambda t: t["layer"].size, {"layer": Layer(1, 2, value)}, 0)
    message = str(info.value)
    assert "`size` of the `Layer` at `['layer']`" in message
    assert "static" in message
    assert """`tree_set(tree, "['layer'].size", ...)`""" in message  # which does it:
    new = ts.tree_set({"layer": Layer(1, 2, value)}, "['layer'].size", 0)
    assert new == {"layer": Layer(1, 2, 0)}


def test_the_advice_for_static_fields_works():
    tree = {"layer": Layer(1, 2, 3)}
    result = tree_at(lambda t: t["layer"], tree, replace_fn=lambda node: dc.replace(node, size=4))
    assert result == {"layer": Layer(1, 2, 4)}


class Converting:
    def __init__(self, x):
        self.x = jnp.asarray(x)


class Forgetting:
    def __init__(self, x):
        self.x = x


jtu.register_pytree_node(Converting, lambda c: ((c.x,), None), lambda _, xs: Converting(*xs))
jtu.register_pytree_node(Forgetting, lambda c: ((c.x,), None), lambda _, xs: Forgetting(object()))


# https://github.com/patrick-kidger/equinox/issues/711
@pytest.mark.parametrize("kind", [Converting, Forgetting])
def test_node_that_rewrites_its_children(kind):
    with pytest.raises(WhereError, match=rf"`{kind.__name__}` at `\[1\]`.*children"):
        tree_at(lambda t: t[1].x, [0, kind(3.0)], 1.0)


def test_error_carries_the_object():
    with pytest.raises(WhereError) as info:
        tree_at(lambda t: "other", [1], 0)
    assert info.value.selected == "other"
    assert ts.WhereError is WhereError
