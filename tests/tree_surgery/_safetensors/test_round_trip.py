"""Saving and loading by name is the identity, for every dtype, key, number and container."""

import collections
import dataclasses as dc
import io
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tree_surgery as ts
from tree_surgery import (
    SerialiseError,
    default_deserialise_filter_spec,
    default_serialise_filter_spec,
    freeze,
    load,
    load_state_dict,
    save,
    tie,
    tree_equal,
    tree_fingerprint,
    untie,
)


def blank(x):
    """Something like `x` that does not hold its values."""
    if isinstance(x, jax.Array):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, np.ndarray):
        return np.empty_like(x)
    return type(x)() if isinstance(x, bool | int | float | complex) else x


# All dtypes that this JAX has: names differ between versions.
JAX_DTYPES = [
    name
    for name in (
        *("bool_", "int2", "int4", "int8", "int16", "int32", "uint2", "uint4", "uint8", "uint16"),
        *("uint32", "float16", "float32", "bfloat16", "complex64", "float4_e2m1fn"),
        *("float8_e3m4", "float8_e4m3", "float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e4m3fnuz"),
        *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    )
    if hasattr(jnp, name)
]
NUMPY_DTYPES = [
    *("int64", "uint64", "float64", "complex128", "longdouble", ">f4", ">c16", "<U5", "S3"),
    *("M8[s]", "m8[ns]", "V3", "U0", "structured"),
]
SHAPES = [(), (1,), (1, 1), (3,), (2, 3), (0,), (0, 3), (3, 0)]


def values(shape, dtype):
    numbers = np.asarray(np.random.default_rng(0).integers(0, 2, shape))
    if dtype.kind != "V" or dtype.isbuiltin == 2:
        return numbers.astype(dtype)
    some = np.frombuffer(bytes(range(100)), np.uint8)
    return np.resize(some, (*shape, dtype.itemsize)).view(dtype)[..., 0]


# https://github.com/patrick-kidger/equinox/issues/914
@pytest.mark.parametrize("name", JAX_DTYPES)
def test_every_dtype_of_jax_in_every_shape(saved, loaded, name):
    dtype = np.dtype(getattr(jnp, name))
    tree = {str(shape): jnp.asarray(values(shape, dtype)) for shape in SHAPES}
    data = saved(tree)
    for like in (tree, jax.tree.map(blank, tree)):
        new = loaded(data, like)
        assert new.keys() == tree.keys()
        for key, x in tree.items():
            y = new[key]
            assert isinstance(y, jax.Array) and (y.dtype, y.shape) == (x.dtype, x.shape)
            assert np.asarray(y).tobytes() == np.asarray(x).tobytes()
            assert y.weak_type is False


# https://github.com/patrick-kidger/equinox/issues/486
# https://github.com/patrick-kidger/equinox/issues/511
@pytest.mark.parametrize("name", [*JAX_DTYPES, *NUMPY_DTYPES])
def test_every_dtype_of_numpy_in_every_shape_and_as_scalar(saved, loaded, name):
    if name == "structured":
        dtype = np.dtype([("a", "f4"), ("b", [("c", "i2", (2,)), ("d", "U2")])])
    else:
        dtype = np.dtype(getattr(jnp, name) if name in JAX_DTYPES else name)
    tree = {str(shape): values(shape, dtype) for shape in SHAPES}
    new = loaded(saved(tree), jax.tree.map(blank, tree))
    for key, x in tree.items():
        assert type(new[key]) is np.ndarray and new[key].flags.writeable
        assert (new[key].dtype, new[key].shape) == (x.dtype, x.shape)
        assert new[key].tobytes() == x.tobytes()
    scalar = tree["()"][()]
    (again,) = loaded(saved([scalar]), [scalar])
    assert type(again) is type(scalar) and again.dtype == scalar.dtype
    assert again == scalar or again.tobytes() == scalar.tobytes()


def test_float0_and_orders_and_views(saved, loaded):
    tree = {
        "float0": np.zeros((2, 3), jax.dtypes.float0),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "view": np.arange(12.0).reshape(3, 4)[::-2, 1::2],
        "fixed": np.broadcast_to(np.float32(3), (2, 2)),
    }
    assert tree_equal(loaded(saved(tree), tree), tree)


# https://github.com/patrick-kidger/equinox/issues/1255
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys(saved, loaded, impl):
    base = jax.random.key(7, impl=impl)
    tree = [base, *(jax.random.split(base, shape) for shape in [(3,), (2, 1), (0,)])]
    new = loaded(saved(tree), jax.tree.map(blank, tree))
    assert tree_equal(new, tree, typematch=True)
    assert jax.random.key_impl(new[0]) == jax.random.key_impl(base)
    assert tree_equal(load_state_dict(io.BytesIO(saved(tree)))["0"], base, typematch=True)


@given(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.integers(-(10**6000), 10**6000),
        st.floats(),
        st.complex_numbers(),
    )
)
def test_python_numbers(x):
    for write, read in ((save, load), (ts.tree_serialise_leaves, ts.tree_deserialise_leaves)):
        file = io.BytesIO()
        write(file, [x])
        file.seek(0)
        (y,) = read(file, [blank(x)])
        assert type(y) is type(x)
        assert y == x if isinstance(x, int) else repr(y) == repr(x)


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


LEAVES = st.one_of(
    hnp.arrays(
        hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    ),
    st.builds(jnp.asarray, st.lists(st.integers(-9, 9), max_size=3).map(np.int32)),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.complex_numbers(allow_nan=False),
    st.none(),
    st.builds(np.float32, st.floats(width=32, allow_nan=False)),
)
KEYS = st.one_of(st.text(max_size=5), st.sampled_from(["0", "a.b", "['a']", "*", "__metadata__"]))


def containers(children):
    several = st.lists(children, max_size=3)
    return st.one_of(
        several,
        several.map(tuple),
        st.dictionaries(KEYS, children, max_size=3),
        st.dictionaries(st.integers(), children, max_size=3),
        st.dictionaries(KEYS, children, max_size=3).map(collections.OrderedDict),
        st.dictionaries(KEYS, children, max_size=3).map(lambda x: collections.defaultdict(int, x)),
        st.builds(Pair, children, children),
        st.builds(Linear, children, children),
        several.map(lambda c: Keyless(*c)),
        st.lists(children, max_size=4).map(lambda c: Keyed(tuple(c))),
    )


TREES = st.recursive(LEAVES, containers, max_leaves=8)


@given(TREES)
def test_identity_for_trees_of_every_container(saved, loaded, tree):
    like = jax.tree.map(blank, tree)
    new = loaded(saved(tree), like)
    again = ts.tree_deserialise_leaves(_serialised(tree), like)
    for x in (new, again):
        assert jtu.tree_structure(x) == jtu.tree_structure(tree)
        for a, b in zip(jtu.tree_leaves(x), jtu.tree_leaves(tree), strict=True):
            assert type(a) is type(b)
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes() or a == b


def _serialised(tree):
    file = io.BytesIO()
    ts.tree_serialise_leaves(file, tree)
    file.seek(0)
    return file


def test_leaves_that_are_not_saved_come_from_like(saved, loaded):
    tree = {"f": jnp.sin, "s": "saved", "n": 1}
    assert loaded(saved(tree), {"f": jnp.cos, "s": "like", "n": 0}) == {
        "f": jnp.cos,
        "s": "like",
        "n": 1,
    }


# https://github.com/patrick-kidger/equinox/issues/166
# https://github.com/patrick-kidger/equinox/issues/167
def test_leaves_that_save_themselves(saved, loaded):
    class Own:
        def __init__(self, x, rest=0):
            self.x, self.rest = x, rest

        def __serialise_leaf__(self, f):
            default_serialise_filter_spec(f, self.x)

        def __deserialise_leaf__(self, f):
            new = Own(default_deserialise_filter_spec(f, self.x))
            f.read(self.rest)
            return new

    tree = [1, Own(jnp.arange(3)), jax.random.key(0)]
    new = loaded(saved(tree), [0, Own(jnp.zeros(3, int)), tree[2]])
    assert tree_equal(new[1].x, jnp.arange(3))
    with pytest.raises(SerialiseError, match=r"Leaf `1`.*\(4,\)"):
        loaded(saved(tree), [0, Own(jnp.zeros(4, int)), tree[2]])
    with pytest.raises(SerialiseError, match="Leaf `0`.*did not read all"):
        loaded(saved([Own(3)]), [type("Less", (Own,), {"__deserialise_leaf__": lambda s, f: s})(0)])


# A model that was changed since it was saved: S9 of what users need.
def test_order_of_fields_and_flags(saved, loaded):
    @jtu.register_dataclass
    @dc.dataclass
    class Before:
        weight: Any
        bias: Any
        inference: Any

    @jtu.register_dataclass
    @dc.dataclass
    class After:
        inference: Any
        bias: Any
        weight: Any

    data = saved(Before(np.ones(2), np.zeros(3), True))
    new = loaded(data, After(False, np.ones(3), np.zeros(2)))
    assert (new.weight.tolist(), new.bias.tolist(), new.inference) == ([1, 1], [0, 0, 0], True)


def test_frozen_is_saved_as_if_it_were_not(saved, loaded):
    tree = {"encoder": Linear(jnp.ones(2), jnp.zeros(2)), "rate": 0.5}
    frozen = freeze(tree, "encoder")
    assert saved(frozen) == saved(tree)
    assert tree_fingerprint(frozen) == tree_fingerprint(tree)
    like = jax.tree.map(jnp.zeros_like, tree) | {"rate": 0.0}
    assert tree_equal(loaded(saved(frozen), freeze(like, "encoder")), frozen)
    assert tree_equal(loaded(saved(frozen), like), tree)


def test_tied_is_saved_once(saved, loaded):
    tied = tie({"embed": jnp.ones((2, 3)), "head": jnp.zeros((2, 3))}, [("head", "embed")])
    assert list(load_state_dict(io.BytesIO(saved(tied)))) == ["embed"]
    new = loaded(saved(tied), jax.tree.map(jnp.zeros_like, tied))
    assert tree_equal(new, tied) and untie(new)["head"] is new["embed"]
