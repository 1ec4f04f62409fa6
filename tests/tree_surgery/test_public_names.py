"""The package: what is public is documented, and has the parameters that it is known by."""

import inspect
import typing

import jax
import pytest

import tree_surgery as ts


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
