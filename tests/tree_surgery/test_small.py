"""`path_str`, `tree_flatten_one_level`, `tree_check`, `apply_updates`, and the package itself."""

import collections
import dataclasses as dc
import inspect
import typing
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest

import tree_surgery as ts
from tree_surgery import apply_updates, path_str, tree_check, tree_flatten_one_level

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


# --- tree_check ------------------------------------------------------------------------------

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


# --- apply_updates ---------------------------------------------------------------------------


def test_apply_updates():
    model = {"w": jnp.arange(2.0), "n": 1, "f": jnp.sin, "none": None, "sub": (1.0, [2.0])}
    updates = {"w": jnp.ones(2), "n": 2, "f": None, "none": None, "sub": None}
    new = apply_updates(model, updates)
    assert new["w"].tolist() == [1.0, 2.0]
    assert {k: new[k] for k in ("n", "f", "none", "sub")} == {
        "n": 3,
        "f": jnp.sin,
        "none": None,
        "sub": (1.0, [2.0]),
    }


def test_apply_updates_under_jit_and_grad():
    model = Layer(jnp.arange(3.0), jnp.array(2.0))

    def loss(model):
        return jnp.sum(model.weight**2) + model.bias**2

    @jax.jit
    def step(model):
        return apply_updates(model, jax.tree.map(lambda g: -0.25 * g, jax.grad(loss)(model)))

    new = step(model)
    np.testing.assert_allclose(new.weight, 0.5 * np.arange(3.0))
    np.testing.assert_allclose(new.bias, 1.0)


@pytest.mark.parametrize(
    ("model", "updates", "message"),
    [
        ({"a": [None]}, {"a": [1.0]}, r"`\['a'\]\[0\]`.*`None`"),
        ({"a": np.ones(2)}, {"a": np.ones((3, 2))}, r"shape of `\['a'\]`.*\(2,\).*\(3, 2\)"),
        (
            {"a": 1.0},
            {"a": 1.0, "b": 2.0},
            r"at `<root>` the model has \['a'\], .*\['a'\], \['b'\]",
        ),
        ({"a": [1.0, 2.0]}, {"a": [1.0]}, r"at `\['a'\]` the model has \[0\], \[1\], and .* \[0\]"),
        ({"a": [1.0, [2.0]]}, {"a": [None, 1.0]}, r"`\['a'\]\[1\]` .* `list`.* `float`"),
        ({"a": [1.0, [2.0]]}, {"a": [None, np.ones(1)]}, r"`\['a'\]\[1\]` .* `list`.* `ndarray`"),
        ({"a": [1.0, (2.0,)]}, {"a": [None, [1.0]]}, r"`\['a'\]\[1\]` .* `tuple`.* `list`"),
        ({"a": 1.0}, {"a": [1.0]}, r"`\['a'\]` the model has a `float`, and the updates a `list`"),
        (Layer(1.0, 2.0), {"w": 1.0}, "`<root>` the model has a `Layer`, and the updates a `dict`"),
    ],
)
def test_apply_updates_errors(model, updates, message):
    with pytest.raises(ValueError, match=message):
        apply_updates(model, updates)


def test_shapes_of_updates_that_cannot_be_added():
    with pytest.raises(TypeError, match="shapes") as info:
        apply_updates({"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": None, "b": jnp.ones(3)})
    assert "the update of `['b']`" in info.value.__notes__[-1]


# --- the package -----------------------------------------------------------------------------


def test_public_names():
    for name in ts.__all__:
        value = getattr(ts, name)
        assert value.__module__ == "tree_surgery"
        assert inspect.getdoc(value)
    assert sorted(ts.__all__) == ts.__all__


SIGNATURES = {
    "apply_updates": "model updates",
    "default_deserialise_filter_spec": "f x",
    "default_serialise_filter_spec": "f x",
    "tree_at": "where pytree replace? replace_fn? is_leaf?",
    "tree_check": "pytree",
    "tree_deserialise_leaves": "path_or_file like filter_spec? is_leaf?",
    "tree_equal": "*pytrees typematch? rtol? atol? explain?",
    "tree_flatten_one_level": "pytree",
    "tree_pformat": "pytree width? indent? short_arrays? struct_as_array? truncate_leaf?",
    "tree_pprint": "pytree width? indent? short_arrays? struct_as_array? truncate_leaf?",
    "tree_serialise_leaves": "path_or_file pytree filter_spec? is_leaf?",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    parameters = inspect.signature(getattr(ts, name)).parameters.values()
    written = " ".join(
        ("*" if p.kind is p.VAR_POSITIONAL else "") + p.name + ("" if p.default is p.empty else "?")
        for p in parameters
    )
    assert written == SIGNATURES[name]


def test_overloads_are_found_where_functions_are_public():
    returns = {x.__annotations__["return"] for x in typing.get_overloads(ts.tree_equal)}
    assert returns == {
        bool | jax.Array,
        ts.Equality,
        bool | jax.Array | ts.Equality,
    }
    assert len(typing.get_overloads(ts.tree_at)) == 5
