"""Predicates, `filter`, `partition`, `combine`."""

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0)


class Convertible:
    def __jax_array__(self) -> jax.Array:
        return X


# subject: (is_array, is_array_like, is_inexact_array, is_inexact_array_like)
SUBJECTS: dict[str, tuple[Any, str]] = {
    "float array": (X, "1111"),
    "int array": (jnp.arange(3), "1100"),
    "complex array": (jnp.ones(2, jnp.complex64), "1111"),
    "key": (jax.random.key(0), "1100"),
    "numpy float": (np.ones(2), "1111"),
    "numpy int": (np.arange(2), "1100"),
    "numpy bfloat16": (np.ones(2, jnp.bfloat16), "1111"),
    "numpy text": (np.array("a"), "1100"),
    "numpy object": (np.array([None]), "1100"),
    "numpy float scalar": (np.float32(1), "1111"),
    "numpy bool scalar": (np.bool_(True), "1100"),
    "int": (1, "0100"),
    "float": (1.0, "0101"),
    "complex": (1j, "0101"),
    "bool": (True, "0100"),
    "str": ("a", "0000"),
    "None": (None, "0000"),
    "list": ([1.0], "0000"),
    "shape": (jax.ShapeDtypeStruct((2,), jnp.float32), "0000"),
    "__jax_array__": (Convertible(), "0101"),
}
PREDICATES = (ft.is_array, ft.is_array_like, ft.is_inexact_array, ft.is_inexact_array_like)


@pytest.mark.parametrize("name", SUBJECTS)
def test_predicates(name: str):
    subject, expected = SUBJECTS[name]
    assert [predicate(subject) for predicate in PREDICATES] == [c == "1" for c in expected]


def test_predicates_of_tracers():
    found: list[list[bool]] = []
    for dtype in (jnp.float32, jnp.int32):
        jax.jit(lambda x: found.append([p(x) for p in PREDICATES]))(jnp.ones(2, dtype))
    assert found == [[True] * 4, [True, True, False, False]]


def test_spec_may_be_function_bool_or_prefix():
    tree = {"a": [1, X], "b": X}
    same = jax.tree.structure(tree, is_leaf=lambda x: x is None)
    for spec, kept in [
        (ft.is_array, [None, X, X]),
        (True, [1, X, X]),
        (False, [None, None, None]),
        ({"a": ft.is_array, "b": False}, [None, X, None]),
        ({"a": [True, False], "b": lambda x: x.ndim == 1}, [1, None, X]),
    ]:
        out = ft.filter(tree, spec)
        leaves, treedef = jax.tree.flatten(out, is_leaf=lambda x: x is None)
        assert treedef == same
        assert all(x is y for x, y in zip(leaves, kept, strict=True)), spec


def test_inverse_replace_and_is_leaf():
    assert ft.filter([1, X], ft.is_array, inverse=True) == [1, None]
    assert ft.filter([1, X], ft.is_array, replace="gone")[0] == "gone"
    assert ft.partition([1, X], [False, True], replace=0) == ([0, X], [1, 0])

    def is_pair(x: Any) -> bool:
        return isinstance(x, list) and len(x) == 2

    yes, no = ft.partition([3, [1, 2]], is_pair, is_leaf=lambda x: is_pair(x) and x[1] == 2)
    assert yes == [None, [1, 2]] and no == [3, None]
    assert ft.filter([None, 1], lambda x: x is None, True, None, lambda x: x is None) == [None, 1]


@pytest.mark.parametrize("truthy", [1, np.bool_(True), "yes", jnp.array(True)])
def test_a_function_may_return_anything_with_a_truth_value(truthy: Any):
    assert ft.filter([1], lambda x: truthy) == [1]


def test_wrong_specs():
    with pytest.raises(ValueError, match=r"booleans and callables only.*\[1\].*str"):
        ft.filter([1, 2], [True, "no"])
    with pytest.raises(ValueError, match="booleans and callables only"):
        ft.filter([1], 3)
    with pytest.raises(ValueError, match="prefix"):
        ft.filter([1, 2], [True])
    with pytest.raises(ValueError, match="prefix"):
        ft.filter([1, 2], None)


def test_combine_takes_the_first_that_is_there():
    assert ft.combine([None, None, 1], [None, 2, 5], [3, 4, 5]) == [3, 2, 1]
    assert ft.combine([1, None]) == [1, None]
    assert ft.combine([None, None], [1, [2, 3]]) == [1, [2, 3]]
    assert ft.combine(None, [1, [2, 3]]) == [1, [2, 3]]

    def pair(x: Any) -> bool:
        return isinstance(x, tuple)

    assert ft.combine([None, (1, 2)], [0, None], is_leaf=pair) == [0, (1, 2)]


def test_combine_says_what_does_not_fit():
    with pytest.raises(TypeError, match="at least one"):
        ft.combine()
    with pytest.raises(ValueError, match="Tree 2 has another structure"):
        ft.combine([1, None], [None, 1], [1])


class Node(Module):
    array: Any
    other: Any


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.sampled_from([X, jnp.arange(2), np.ones(2), np.float32(1), jnp.tanh, len, int]),
)
trees = st.recursive(
    leaves,
    lambda t: st.one_of(
        st.lists(t, max_size=3),
        st.tuples(t, t),
        st.dictionaries(st.text(max_size=2), t, max_size=3),
        st.builds(Node, t, t),
    ),
    max_leaves=10,
)


def same(x: Any, y: Any) -> bool:
    x_leaves, x_def = jax.tree.flatten(x)
    y_leaves, y_def = jax.tree.flatten(y)
    return x_def == y_def and all(a is b for a, b in zip(x_leaves, y_leaves, strict=True))


@given(trees)
def test_combine_undoes_partition(tree: Any):
    for spec in (*PREDICATES, True, False):
        yes, no = ft.partition(tree, spec)
        assert same(ft.combine(yes, no), tree) and same(ft.combine(no, yes), tree)
        keep = spec if callable(spec) else lambda x, spec=spec: spec
        assert all(map(keep, jax.tree.leaves(yes))) and not any(map(keep, jax.tree.leaves(no)))
        assert same(ft.filter(tree, spec), yes) and same(ft.filter(tree, spec, inverse=True), no)


@given(trees)
def test_hashable_partition_is_a_key(tree: Any):
    dynamic, static = ft.extend.hashable_partition(tree, ft.is_array)
    again, static_again = ft.extend.hashable_partition(tree, ft.is_array)
    assert static == static_again and hash(static) == hash(static_again)
    assert all(x is y for x, y in zip(dynamic, again, strict=True))
    assert same(ft.extend.hashable_combine(dynamic, static), tree)


def test_hashable_partition_tells_numbers_of_different_types_apart():
    keys = {ft.extend.hashable_partition([x], ft.is_array)[1] for x in (1, 1.0, True)}
    assert len(keys) == 3


def test_types_of_leaves_do_not_pile_up():
    def leaf() -> Any:
        class Leaf:
            pass

        return Leaf()

    first = leaf()
    alive = weakref.ref(type(first))
    assert ft.filter([first, X], ft.is_array)[0] is None
    del first
    for _ in range(4100):
        ft.filter([leaf()], ft.is_array)
    gc.collect()
    assert alive() is None
    assert ft.filter([X, 1.0], ft.is_array)[0] is X
