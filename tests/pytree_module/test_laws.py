"""The laws of modules, over generated classes and generated trees."""

import dataclasses
import pickle
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytree_module import Module, field

# Classes are made under unique names in this module of their own, where pickle finds them.
_GENERATED = types.ModuleType("generated_module_classes")
sys.modules[_GENERATED.__name__] = _GENERATED

_hashables = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.text("abc", max_size=3),
    st.tuples(st.integers(0, 3), st.text("ab", max_size=2)),
)
_arrays = st.one_of(
    st.integers(0, 3).map(lambda n: np.arange(n, dtype=np.float32)),
    st.integers(0, 3).map(lambda n: jnp.arange(n)),
)


def _own_init(names: list[str]) -> Any:
    def __init__(self: Any, *args: Any) -> None:
        for name, value in zip(names, args, strict=True):
            setattr(self, name, value)

    return __init__


@st.composite
def module_classes(draw: st.DrawFn) -> type[Module]:
    """A class with up to four fields, static or not, perhaps inherited, perhaps with `__init__`."""
    base: type[Module] = Module
    names: list[str] = []
    for depth in range(draw(st.integers(1, 3))):
        new = [f"f{depth}_{i}" for i in range(draw(st.integers(0, 3)))]
        names += new
        body: dict[str, Any] = {"__annotations__": dict.fromkeys(new, Any)}
        for name in new:
            if draw(st.booleans()):
                body[name] = field(static=True)
        if draw(st.booleans()) or (base is not Module and not base.__dataclass_params__.init):
            body["__init__"] = _own_init(names)
        body["method"] = lambda self: self
        body["__module__"] = _GENERATED.__name__
        name = f"Class{len(vars(_GENERATED))}"
        base = type(Module)(name, (base,), body)
        setattr(_GENERATED, name, base)
    return base


def _make(draw: st.DrawFn, cls: type[Module], values: st.SearchStrategy[Any]) -> Module:
    return cls(
        *(
            draw(_hashables if f.metadata.get("static", False) else values)
            for f in dataclasses.fields(cls)
        )
    )


@st.composite
def modules(draw: st.DrawFn, leaves: st.SearchStrategy[Any]) -> Module:
    """A module whose fields hold trees of leaves, containers and further modules."""

    @st.composite
    def nested(draw: st.DrawFn, children: st.SearchStrategy[Any]) -> Module:
        return _make(draw, draw(module_classes()), children)

    trees = st.recursive(
        leaves,
        lambda children: st.one_of(
            st.lists(children, max_size=2),
            st.tuples(children, children),
            st.dictionaries(st.sampled_from("xyz"), children, max_size=2),
            nested(children),
        ),
        max_leaves=5,
    )
    return _make(draw, draw(module_classes()), trees)


any_module = modules(st.one_of(_hashables, _arrays))
hashable_module = modules(_hashables)


def _follow(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        match key:
            case jax.tree_util.GetAttrKey(name):
                tree = getattr(tree, name)
            case jax.tree_util.SequenceKey(index):
                tree = tree[index]
            case jax.tree_util.DictKey(name):
                tree = tree[name]
            case _:
                raise AssertionError(key)
    return tree


@given(any_module)
def test_unflatten_after_flatten_is_the_identity(module: Module) -> None:
    leaves, treedef = jax.tree_util.tree_flatten(module)
    rebuilt = jax.tree_util.tree_unflatten(treedef, leaves)
    assert type(rebuilt) is type(module)
    again, treedef_again = jax.tree_util.tree_flatten(rebuilt)
    assert treedef_again == treedef
    assert all(a is b for a, b in zip(leaves, again, strict=True))
    for f in dataclasses.fields(module):
        if f.metadata.get("static", False):
            assert getattr(rebuilt, f.name) is getattr(module, f.name)
    assert rebuilt == module


@given(any_module)
def test_flatten_agrees_with_its_key_paths(module: Module) -> None:
    leaves, treedef = jax.tree_util.tree_flatten(module)
    pairs, treedef_of_pairs = jax.tree_util.tree_flatten_with_path(module)
    assert treedef == treedef_of_pairs
    for leaf, (path, keyed) in zip(leaves, pairs, strict=True):
        assert keyed is leaf and _follow(module, path) is leaf


@given(any_module)
def test_static_fields_never_are_leaves(module: Module) -> None:
    expected = [
        leaf
        for f in dataclasses.fields(module)
        if not f.metadata.get("static", False)
        for leaf in jax.tree_util.tree_leaves(getattr(module, f.name))
    ]
    leaves = jax.tree_util.tree_leaves(module)
    assert len(leaves) == len(expected)
    assert all(a is b for a, b in zip(leaves, expected, strict=True))


@given(hashable_module, st.data())
def test_equal_modules_have_equal_hashes_and_a_changed_leaf_makes_them_unequal(
    module: Module, data: st.DataObject
) -> None:
    copied = jax.tree_util.tree_map(lambda x: x, module)
    assert copied == module and hash(copied) == hash(module)
    assert copied.method == module.method and hash(copied.method) == hash(module.method)
    leaves, treedef = jax.tree_util.tree_flatten(module)
    if leaves:
        leaves[data.draw(st.integers(0, len(leaves) - 1))] = "changed"
        changed = jax.tree_util.tree_unflatten(treedef, leaves)
        assert changed != module and changed.method != module.method


@given(any_module)
def test_pickle_round_trips(module: Module) -> None:
    loaded = pickle.loads(pickle.dumps(module))
    assert type(loaded) is type(module) and bool(loaded == module)


@given(any_module)
def test_instances_cannot_be_changed(module: Module) -> None:
    before = dict(vars(module))
    for name in (*before, "unknown"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(module, name, 0)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(module, name)
    assert vars(module) == before or all(vars(module)[k] is before[k] for k in before)


@given(any_module)
def test_methods_are_trees_around_the_instance(module: Module) -> None:
    leaves, treedef = jax.tree_util.tree_flatten(module.method)
    assert jax.tree_util.tree_unflatten(treedef, leaves)() == module
    assert all(a is b for a, b in zip(leaves, jax.tree_util.tree_leaves(module), strict=True))
