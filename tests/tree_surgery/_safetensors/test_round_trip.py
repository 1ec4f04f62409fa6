"""Saving and loading by name: exact, checked, whole or not at all."""

import bz2
import collections
import dataclasses as dc
import gzip
import io
import json
import lzma
import os
import tracemalloc
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
import safetensors.numpy
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
    peek,
    save,
    tie,
    tree_equal,
    tree_fingerprint,
    untie,
)


def saved(tree, **kwargs):
    file = io.BytesIO()
    save(file, tree, **kwargs)
    return file.getvalue()


def loaded(data, like, **kwargs):
    file = io.BytesIO(data)
    tree = load(file, like, **kwargs)
    assert file.read() == b"", "not all was read"
    return tree


def blank(x):
    """Something like `x` that does not hold its values."""
    if isinstance(x, jax.Array):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, np.ndarray):
        return np.empty_like(x)
    return type(x)() if isinstance(x, bool | int | float | complex) else x


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, rest):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


# --- save, then load, is the identity --------------------------------------------------------

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
def test_every_dtype_of_jax_in_every_shape(name):
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
def test_every_dtype_of_numpy_in_every_shape_and_as_scalar(name):
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


def test_float0_and_orders_and_views():
    tree = {
        "float0": np.zeros((2, 3), jax.dtypes.float0),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "view": np.arange(12.0).reshape(3, 4)[::-2, 1::2],
        "fixed": np.broadcast_to(np.float32(3), (2, 2)),
    }
    assert tree_equal(loaded(saved(tree), tree), tree)


# https://github.com/patrick-kidger/equinox/issues/1255
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys(impl):
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
def test_identity_for_trees_of_every_container(tree):
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


def test_names_are_dotted_paths():
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


def test_names_that_would_be_the_same():
    tree = {"x": collections.OrderedDict([(0, np.zeros(1)), ("0", np.ones(1))])}
    tree |= {"a.b": 1, "a": {"b": 2}, "a.c": 3}
    assert tree_equal(loaded(saved(tree), tree), tree)
    assert {"['a.b']", "['a']['b']", "a.c"} < load_state_dict(io.BytesIO(saved(tree))).keys()
    twins = Keyed((1, 2))
    twins.KEYS = (jtu.GetAttrKey("x"),) * 2
    with pytest.raises(SerialiseError, match="Two leaves have the same path `x`"):
        saved(twins)


def test_leaves_that_are_not_saved_come_from_like():
    tree = {"f": jnp.sin, "s": "saved", "n": 1}
    assert loaded(saved(tree), {"f": jnp.cos, "s": "like", "n": 0}) == {
        "f": jnp.cos,
        "s": "like",
        "n": 1,
    }


# https://github.com/patrick-kidger/equinox/issues/166
# https://github.com/patrick-kidger/equinox/issues/167
def test_leaves_that_save_themselves():
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


# --- fields in another order, frozen, tied ----------------------------------------------------


# A model that was changed since it was saved: S9 of what users need.
def test_order_of_fields_and_flags():
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


def test_frozen_is_saved_as_if_it_were_not():
    tree = {"encoder": Linear(jnp.ones(2), jnp.zeros(2)), "rate": 0.5}
    frozen = freeze(tree, "encoder")
    assert saved(frozen) == saved(tree)
    assert tree_fingerprint(frozen) == tree_fingerprint(tree)
    like = jax.tree.map(jnp.zeros_like, tree) | {"rate": 0.0}
    assert tree_equal(loaded(saved(frozen), freeze(like, "encoder")), frozen)
    assert tree_equal(loaded(saved(frozen), like), tree)


def test_tied_is_saved_once():
    tied = tie({"embed": jnp.ones((2, 3)), "head": jnp.zeros((2, 3))}, [("head", "embed")])
    assert list(load_state_dict(io.BytesIO(saved(tied)))) == ["embed"]
    new = loaded(saved(tied), jax.tree.map(jnp.zeros_like, tied))
    assert tree_equal(new, tied) and untie(new)["head"] is new["embed"]


# --- the format ------------------------------------------------------------------------------

EXCHANGED = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
EXCHANGED += ["float16", "float32", "float64", "complex64"]


def test_the_library_reads_our_files(tmp_path):
    tree = {n: values(s, np.dtype(n)) for n, s in zip(EXCHANGED, SHAPES * 2, strict=False)}
    save(
        tmp_path / "m",
        tree | {"jax": jnp.arange(3), "n": 3, "a.b": np.ones(1)},
        metadata={"format": "pt", "n": [1]},
    )
    read = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    for name, x in tree.items():
        assert read[name].dtype == x.dtype and np.array_equal(read[name], x)
    assert read["a.b"].tolist() == [1.0]
    assert read["jax"].tolist() == [0, 1, 2] and "n" not in read
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt" and metadata["n"] == "[1]"


def test_we_read_files_of_the_library(tmp_path):
    tree = {n: values(s, np.dtype(n)) for n, s in zip(EXCHANGED, SHAPES * 2, strict=False)}
    safetensors.numpy.save_file(tree, tmp_path / "m.safetensors", metadata={"width": "3"})
    new = load(tmp_path / "m", jax.tree.map(np.empty_like, tree))
    for name, x in tree.items():
        assert new[name].dtype == x.dtype and np.array_equal(new[name], x)
    info = peek(tmp_path / "m")
    assert (info.version, info.metadata) == (None, {"width": "3"})
    assert info.fingerprint == tree_fingerprint(tree)


def test_numbers_of_files_by_others():
    data = safetensors.numpy.save({"n": np.array(3), "x": np.array(0.5, np.float32)})
    assert loaded(data, {"n": 0, "x": 0.0}) == {"n": 3, "x": 0.5}
    assert loaded(data, {"n": 0.0, "x": 0j}) == {"n": 3.0, "x": 0.5 + 0j}
    with pytest.raises(SerialiseError, match=r"Leaf `x`: 0.5 is no `int`"):
        loaded(data, {"n": 0, "x": 0})


def test_bytes_of_a_file():
    """The format is written down once more: files must stay readable."""
    header, rest = header_of(saved({"w": np.array([1, 2], np.int16)}, metadata={"a": 1}))
    notes = json.loads(header["__metadata__"].pop("tree_surgery"))
    assert header.pop("w") == {"dtype": "I16", "shape": [2], "data_offsets": [0, 4]}
    assert header.pop("__metadata__").keys() == {"a", "tree_surgery.checksum"} and not header
    assert rest == b"\1\0\2\0"
    assert notes.pop("fingerprint") == tree_fingerprint({"w": np.zeros(2, np.int16)})
    crc = {"w": f"{zlib.crc32(rest):08x}"}
    assert notes == {"version": 1, "json": ["a"], "leaves": {}, "numbers": {}, "crc32": crc}


def test_data_are_aligned():
    data = saved({"a": np.ones(3, np.int8), "b": np.ones(3), "c": np.ones(3, np.float16)})
    size = int.from_bytes(data[:8], "little")
    assert (8 + size) % 64 == 0
    for name, entry in header_of(data)[0].items():
        if name != "__metadata__":
            width = {"I8": 1, "F64": 8, "F16": 2}[entry["dtype"]]
            assert entry["data_offsets"][0] % width == 0


# --- metadata, peek, fingerprint --------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_metadata(metadata):
    data = saved({"w": np.ones(2)}, metadata=metadata)
    info = peek(io.BytesIO(data))
    assert info.metadata == metadata
    assert {k: type(v) for k, v in info.metadata.items()} == {
        k: type(v) for k, v in metadata.items()
    }


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": jnp.ones(2)}, "`a` cannot be kept as JSON"),
        ({"a": {1: 2}}, "`a` would not come back"),
        ({1: 2}, "1 cannot be a key"),
        ({"tree_surgery": 2}, "'tree_surgery' cannot be a key"),
        ({"a": "x" * (1 << 25)}, "Keep large things in arrays"),
    ],
)
def test_metadata_that_cannot_be_kept(metadata, said):
    with pytest.raises(SerialiseError, match=said):
        saved([1], metadata=metadata)


def test_arguments_that_are_no_dictionaries():
    with pytest.raises(SerialiseError, match="Metadata are a dictionary .* `list`"):
        saved({"a": 1}, metadata=[1])
    with pytest.raises(SerialiseError, match="`rename` is a dictionary .* `list`"):
        loaded(saved({"a": 1}), {"a": 0}, rename=["a"])


def test_errors_name_the_file_and_its_format(tmp_path):
    ts.tree_serialise_leaves(tmp_path / "old.eqx", {"a": jnp.ones(2)})
    with pytest.raises(SerialiseError, match="`tree_deserialise_leaves` reads") as info:
        ts.load(tmp_path / "old.eqx", {"a": jnp.ones(2)})
    assert info.value.__notes__ == [f"The file is `{tmp_path / 'old.eqx'}`."]
    ts.save(tmp_path / "new", {"a": jnp.ones(2)})
    with pytest.raises(SerialiseError, match="1 missing") as info:
        ts.load(tmp_path / "new", {"b": jnp.ones(2)})
    assert info.value.__notes__ == [f"The file is `{tmp_path / 'new.safetensors'}`."]


def test_peek_reads_the_header_only(tmp_path):
    tree = {"w": jnp.ones((500, 500)), "k": jax.random.key(0), "n": 3}
    save(tmp_path / "m", tree, metadata={"shape": (2, 3)})
    with (tmp_path / "m.safetensors").open("rb") as file:
        info = peek(file)
        assert file.tell() == 0
    assert info.metadata == {"shape": [2, 3]}
    assert {name: str(x) for name, x in info.leaves.items()} == {
        "w": "shape (500, 500) and dtype float32",
        "k": "shape () and dtype key<fry>",
        "n": "Python int",
    }
    assert info == peek(tmp_path / "m.safetensors")
    assert info.fingerprint == tree_fingerprint(tree) == tree_fingerprint(jax.tree.map(blank, tree))


def test_fingerprint_is_of_names_and_kinds():
    tree = {"w": np.ones((2, 3)), "n": 3}
    same = [{"n": 4, "w": np.zeros((2, 3))}, {**tree, "f": jnp.sin}, {**tree, "none": None}]
    other = [
        {"w": np.ones((3, 2)), "n": 3},
        {"w": np.ones((2, 3), np.float32), "n": 3},
        {"w": np.ones((2, 3)), "n": 3.0},
        {"v": np.ones((2, 3)), "n": 3},
        {"w": np.ones((2, 3))},
    ]
    assert {tree_fingerprint(x) for x in same} == {tree_fingerprint(tree)}
    assert len({tree_fingerprint(x) for x in [tree, *other]}) == 1 + len(other)


# --- what does not fit ------------------------------------------------------------------------

TREE = {
    "layers": [Linear(jnp.ones((2, 3)), jnp.zeros(2))],
    "key": jax.random.key(0),
    "steps": 3,
    "rate": 0.5,
}


# https://github.com/patrick-kidger/equinox/issues/498
# https://github.com/patrick-kidger/equinox/issues/267
def test_all_that_does_not_fit_is_one_error():
    like = {
        "layers": [Linear(jnp.ones((3, 2)), None), Linear(jnp.ones(1), None)],
        "key": jax.random.key(0, impl="rbg"),
        "steps": True,
        "rate": 1,
    }
    with pytest.raises(SerialiseError) as info:
        loaded(saved(TREE), like)
    assert str(info.value).startswith(
        "The file does not fit `like`. 1 missing, 1 unexpected, 4 mismatched:\n"
        "- layers.1.weight: missing, shape (1,) and dtype float32\n"
        "+ layers.0.bias: unexpected\n"
        "~ key: expected shape () and dtype key<rbg>, found shape () and dtype key<fry>\n"
        "~ layers.0.weight: expected shape (3, 2) and dtype float32, found shape (2, 3) and dtype "
        "float32\n"
        "~ rate: expected Python int, found Python float\n"
        "~ steps: expected Python bool, found Python int\n"
    )
    report = info.value.report
    assert report and report.missing == ["layers.1.weight"]
    assert report.unexpected == ["layers.0.bias"]
    assert [x.path for x in report.mismatched] == ["key", "layers.0.weight", "rate", "steps"]
    assert report.mismatched[1].expected.shape == (3, 2)
    assert (info.value.path, info.value.found) == ("key", "shape () and dtype key<fry>")


@pytest.mark.parametrize(
    ("x", "like"),
    [
        (jnp.ones(2), jnp.ones(2, jnp.int32)),
        (jnp.ones(2), jnp.ones(2, jnp.bfloat16)),
        (np.ones(2), np.ones(2, np.float32)),
        (jnp.ones(()), 1),
        (jnp.ones(()), True),
        (1, jnp.ones(())),
        (1.0, np.float64(1)),
        (jnp.ones(2), None),
        (jnp.ones(2), "text"),
        (None, jnp.ones(2)),
        (jnp.ones(2, jnp.uint32), jax.random.key(0)),
        (jax.random.key(0), jnp.ones(2, jnp.uint32)),
        (jnp.ones(2, jnp.int4), jnp.ones(2, jnp.int8)),
        (2**53 + 1, 1.0),
        (np.ones(2, ">f4"), np.ones(2, "<f4")),
    ],
)
def test_one_leaf_that_does_not_fit(x, like):
    with pytest.raises(SerialiseError, match="x") as info:
        loaded(saved({"x": x, "y": 1}), {"x": like, "y": 0})
    assert info.value.report is None or info.value.report


def test_what_fits_is_loaded():
    like = {
        "layers": [Linear(jnp.zeros((2, 3)), jnp.zeros(5)), "new"],
        "steps": 0,
        "more": jax.ShapeDtypeStruct((2,), jnp.float32),
    }
    tree, report = loaded(saved(TREE), like, strict=False)
    assert tree_equal(tree["layers"][0].weight, jnp.ones((2, 3))) and tree["steps"] == 3
    assert tree["layers"][0].bias is like["layers"][0].bias and tree["more"] is like["more"]
    assert report.missing == ["more"] and set(report.unexpected) == {"key", "rate"}
    assert [x.path for x in report.mismatched] == ["layers.0.bias"]
    assert str(report).startswith("1 missing, 2 unexpected, 1 mismatched:\n- more: missing\n")
    tree, report = loaded(saved(TREE), TREE, strict=False)
    assert not report and str(report) == "Everything fits." and tree_equal(tree, TREE)


@pytest.mark.parametrize(
    "rename",
    [
        {"layers": "blocks", "steps": "n.steps"},
        {
            "layers.*.weight": "blocks.*.weight",
            "layers.0.bias": "blocks.0.bias",
            "steps": "n.steps",
        },
        {"layers.**": "blocks.**", "s*": "n.steps"},
        lambda name: name.replace("layers", "blocks").replace("steps", "n.steps"),
    ],
)
def test_rename(rename):
    like = {"blocks": TREE["layers"], "n": {"steps": 0}, "key": TREE["key"], "rate": 0.0}
    new = loaded(saved(TREE), like, rename=rename)
    assert tree_equal(new["blocks"], TREE["layers"]) and new["n"] == {"steps": 3}


def test_rename_leaves_out_and_refuses():
    like = {"layers": TREE["layers"]}
    rename = {"key": None, "steps": None, "rate": None}
    assert tree_equal(loaded(saved(TREE), like, rename=rename), like)
    with pytest.raises(SerialiseError, match="`rename` gives `.*` and `.*` the same name `x`"):
        loaded(saved(TREE), like, rename={"steps": "x", "rate": "x"})
    with pytest.raises(SerialiseError, match="more stars than the old"):
        loaded(saved(TREE), like, rename={"steps": "*.x"})


def test_dtype():
    tree = {"w": jnp.array([1.5, 2.5]), "n": jnp.arange(2), "h": jnp.ones(2, jnp.float16), "x": 0.5}
    data = saved(tree)
    half = loaded(data, tree, dtype=jnp.bfloat16)
    assert half["w"].dtype == half["h"].dtype == jnp.bfloat16 and half["n"].dtype == jnp.int32
    assert half["w"].tolist() == [1.5, 2.5] and half["x"] == 0.5
    like = {
        "w": np.zeros(2),
        "n": jnp.zeros(2, jnp.int8),
        "h": jnp.zeros(2, jnp.bfloat16),
        "x": 0.0,
    }
    new = loaded(data, like, dtype="like")
    assert {k: str(np.asarray(v).dtype) for k, v in new.items()} == {
        "w": "float64",
        "n": "int8",
        "h": "bfloat16",
        "x": "float64",
    }
    with pytest.raises(SerialiseError, match="1 mismatched:\n~ w"):
        loaded(data, like | {"w": jnp.zeros(2, jnp.int32)}, dtype="like")
    with pytest.raises(SerialiseError, match="mismatched:\n~ w: expected shape \\(3,\\)"):
        loaded(data, tree | {"w": jnp.zeros(3)}, dtype=jnp.bfloat16)
    with pytest.raises(SerialiseError, match="`n`.*not all its values fit int8"):
        loaded(saved({"n": jnp.array([300])}), {"n": jnp.array([1], jnp.int8)}, dtype="like")


def test_x64():
    data = saved({"x": np.ones(2)})
    with pytest.raises(SerialiseError, match="Leaf `x`.*jax_enable_x64"):
        loaded(data, {"x": jax.ShapeDtypeStruct((2,), np.dtype("float64"))})
    with pytest.raises(SerialiseError, match="Leaf `x`.*jax_enable_x64"):
        loaded(data, {"x": jnp.ones(2)}, dtype=np.float64)


# --- arrays that are anywhere -----------------------------------------------------------------


def sharding(*axes):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), "d")
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


@pytest.mark.parametrize("axes", [("d",), (None, "d"), (), (None,)])
def test_shardings(axes):
    x = jax.device_put(jnp.arange(8.0).reshape(4, 2), sharding(*axes))
    assert saved({"x": x}) == saved({"x": np.asarray(jnp.arange(8.0).reshape(4, 2))})
    like = {"x": jax.ShapeDtypeStruct((4, 2), jnp.float32, sharding=sharding("d"))}
    (y,) = loaded(saved({"x": x}), like).values()
    assert y.sharding == sharding("d") and y.tolist() == x.tolist()
    keys = jax.device_put(jax.random.split(jax.random.key(0), 4), sharding("d"))
    like = jax.ShapeDtypeStruct(keys.shape, keys.dtype, sharding=sharding("d"))
    again = loaded(saved(keys), like)
    assert tree_equal(again, keys) and again.sharding == sharding("d")


WAYS = [(ts.save, ts.load), (ts.tree_serialise_leaves, ts.tree_deserialise_leaves)]


@pytest.mark.parametrize(("write", "read"), WAYS)
def test_arrays_are_loaded_to_where_those_of_like_are(write, read):
    tree = {"x": jnp.arange(8.0).reshape(4, 2), "keys": jax.random.split(jax.random.key(0), 4)}
    file = io.BytesIO()
    write(file, tree)
    last = jax.sharding.SingleDeviceSharding(jax.devices()[-1])
    for place in (sharding("d"), sharding(), last):
        file.seek(0)
        new = read(file, jax.device_put(tree, place))
        assert tree_equal(new, tree)
        assert all(x.sharding.is_equivalent_to(place, x.ndim) for x in new.values())
        parts = {s.data.shape for s in new["x"].addressable_shards}
        assert parts == {(2, 2) if place == sharding("d") else (4, 2)}
    file.seek(0)
    assert not any(x.committed for x in read(file, tree).values())


@pytest.mark.parametrize(("write", "read"), WAYS)
def test_shapes_over_explicit_axes_are_loaded_where_the_mesh_is_set(write, read):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = jax.sharding.PartitionSpec("d")
    tree = {"x": jnp.arange(8.0).reshape(4, 2), "keys": jax.random.split(jax.random.key(0), 4)}
    file = io.BytesIO()
    write(file, tree)
    with jax.set_mesh(mesh):
        like = jax.eval_shape(lambda: jax.sharding.reshard(tree, {"x": split, "keys": split}))
        file.seek(0)
        new = read(file, like)
    expected = jax.device_put(tree, jax.sharding.NamedSharding(mesh, split))
    assert tree_equal(new, tree)
    for x, y in zip(new.values(), expected.values(), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim) and x.sharding.mesh == mesh
    file.seek(0)
    with pytest.raises(SerialiseError, match=r"(keys|x).*abstract mesh.*Load within `jax.set_mesh"):
        read(file, like)


def test_an_array_that_other_processes_hold_is_refused(monkeypatch):
    x = jax.device_put(jnp.arange(8.0), sharding("d"))
    monkeypatch.setattr(type(x), "is_fully_addressable", False)
    for write in (save, ts.tree_serialise_leaves):
        with pytest.raises(SerialiseError, match="`.*w.*`.*process_allgather"):
            write(io.BytesIO(), {"w": x})


class Nowhere(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        return len(data)


@pytest.mark.parametrize("write", [save, ts.tree_serialise_leaves])
def test_memory_while_saving(write):
    """NumPy's memory is what Python counts: one gathered leaf at a time, and none is kept."""
    spread = [jax.device_put(jnp.full((1 << 18,), i, jnp.float32), sharding("d")) for i in range(6)]
    tree = {"spread": spread, "turned": [np.ones((512, 512), np.float32).T for _ in range(4)]}
    tracemalloc.start()
    try:
        write(Nowhere(), tree)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * (1 << 20) + 200_000 and kept < 200_000


@pytest.mark.parametrize("kind", ["named", "in order"])
def test_memory_while_loading(tmp_path, kind):
    """Beyond the tree itself, which is in NumPy's memory here, less than a fifth of a leaf."""
    tree = [np.full((1 << 18,), i, np.float32) for i in range(6)]
    like = [np.empty(1 << 18, np.float32) for _ in range(6)]
    write, read = (
        (save, load)
        if kind == "named"
        else (
            ts.tree_serialise_leaves,
            ts.tree_deserialise_leaves,
        )
    )
    write(tmp_path / "m", tree)
    tracemalloc.start()
    try:
        new = read(tmp_path / "m", like)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tree_equal(new, tree)
    assert peak < 6 * (1 << 20) + 0.2 * (1 << 20) + 200_000


def test_the_loaded_arrays_are_their_own():
    x = jnp.arange(1024.0)
    data = saved({"x": x})
    one, other = loaded(data, {"x": x}), loaded(data, {"x": x})
    new = jax.jit(lambda x: x + 1, donate_argnums=0)(one["x"])
    assert new[3] == 4 and other["x"][3] == 3


# --- where to ---------------------------------------------------------------------------------


class AnyPath:
    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


# https://github.com/google/orbax/issues/741
@pytest.mark.parametrize("kind", [str, Path, AnyPath, os.fsencode])
@pytest.mark.parametrize(
    ("name", "made"), [("m", "m.safetensors"), ("m.bin", "m.bin"), ("a.b", "a.b")]
)
def test_paths(tmp_path, kind, name, made):
    save(kind(tmp_path / name), TREE, metadata={"a": 1})
    assert os.listdir(tmp_path) == [made]
    assert tree_equal(load(kind(tmp_path / name), TREE), TREE)
    assert peek(kind(tmp_path / name)).metadata == {"a": 1}


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_streams(tmp_path, module):
    tree = {"w": jnp.zeros((100, 100)), "n": 3}
    with module.open(tmp_path / "m", "wb") as file:
        file.write(b"before")
        save(file, tree)
        save(file, [1])
    assert (tmp_path / "m").stat().st_size < 4000
    with module.open(tmp_path / "m", "rb") as file:
        assert file.read(6) == b"before"
        assert tree_equal(load(file, tree), tree) and load(file, [0]) == [1]


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
@pytest.mark.parametrize("kind", ["by name", "in order"])
def test_damaged_compressed_streams(module, kind):
    write, read = (
        (save, load)
        if kind == "by name"
        else (ts.tree_serialise_leaves, ts.tree_deserialise_leaves)
    )
    tree = {"w": np.random.default_rng(0).random(1000)}
    file = io.BytesIO()
    write(file, tree)
    data = module.compress(file.getvalue())
    for size in (len(data) // 2, len(data) - 200):
        with pytest.raises(SerialiseError, match="compressed stream is cut short|cut short"):
            read(module.open(io.BytesIO(data[:size])), tree)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    try:
        new = read(module.open(io.BytesIO(bytes(flipped))), tree)
    except (SerialiseError, OSError):
        return
    assert kind == "in order" and new["w"].shape == (1000,)  # values are not checked there


class Dripping:
    """A stream that cannot seek, and moves few bytes at once."""

    def __init__(self, data=b""):
        self.file = io.BytesIO(data)

    def read(self, size):
        return self.file.read(min(size, 7))

    def write(self, data):
        self.file.write(data)


def test_streams_that_cannot_seek(tmp_path):
    file = Dripping()
    save(file, TREE)
    assert file.file.getvalue() == saved(TREE)
    assert tree_equal(load(Dripping(saved(TREE)), TREE), TREE)
    read, write = os.pipe()
    with open(read, "rb") as reader:
        with open(write, "wb") as writer:
            save(writer, TREE)
        assert tree_equal(load(reader, TREE), TREE)


def test_files_that_are_appended_to(tmp_path):
    for i in range(2):
        with (tmp_path / "m").open("ab", buffering=0) as file:
            save(file, {"w": np.full(3, i)})
    with (tmp_path / "m").open("rb") as file:
        for i in range(2):
            assert load(file, {"w": np.zeros(3, int)})["w"].tolist() == [i] * 3


# --- damaged and hostile files ------------------------------------------------------------------

SMALL = {"w": np.arange(6.0).reshape(2, 3), "k": jax.random.key(0), "n": 3}


def test_every_truncation_is_an_error(tmp_path):
    data = saved(SMALL)
    for size in range(0, len(data), 1 if len(data) < 2000 else 7):
        file = io.BytesIO(data[:size])
        with pytest.raises(SerialiseError):
            load(file, SMALL)
        assert file.tell() == 0
    for size in (0, 5, 100, len(data) - 1):
        (tmp_path / "m.safetensors").write_bytes(data[:size])
        for read in (lambda: load(tmp_path / "m", SMALL), lambda: peek(tmp_path / "m")):
            with pytest.raises(SerialiseError, match="cut short|claims a header"):
                read()


def test_trailing_data(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(saved(SMALL) + b"x")
    with pytest.raises(SerialiseError, match="goes on after its data"):
        load(tmp_path / "m", SMALL)


def test_damaged_values_name_their_leaf():
    data = bytearray(saved(SMALL))
    data[-1] ^= 1
    with pytest.raises(SerialiseError, match="leaf `k` is not as it was saved") as info:
        loaded(bytes(data), SMALL)
    assert info.value.path == "k"
    # also in what is not loaded
    with pytest.raises(SerialiseError, match="leaf `k`"):
        loaded(bytes(data), {"w": SMALL["w"]}, strict=False)


def test_newer_versions_are_refused():
    header, rest = header_of(saved(SMALL))
    notes = json.loads(header["__metadata__"]["tree_surgery"]) | {"version": 2}
    header["__metadata__"]["tree_surgery"] = json.dumps(notes)
    with pytest.raises(SerialiseError, match="version 2 .* knows 1. Upgrade"):
        loaded(with_header(header, rest), SMALL)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        b"\x80\x04\x95" + bytes(100),
        b"\x93NUMPY\x01\x00v\x00" + bytes(200),
        (1 << 62).to_bytes(8, "little"),
        ((1 << 25) + 1).to_bytes(8, "little") + b"{}",
        (1 << 25).to_bytes(8, "little") + b"{",
        with_header([], b""),
        with_header("text", b""),
        with_header({"w": {}}, b""),
        (100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995,
        (30).to_bytes(8, "little") + b'{"w":' + b"9" * 24 + b"}",
        (5000).to_bytes(8, "little") + b'{"w":' + b"9" * 4994 + b"}",
        (8).to_bytes(8, "little") + b'{"\xff":1}',
        (12).to_bytes(8, "little") + b'{"a":1,"a":2}',
        with_header({"__metadata__": {"a": 1}}, b""),
        with_header({"__metadata__": []}, b""),
    ],
)
def test_foreign_and_hostile_files(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    for read in (
        lambda: load(tmp_path / "m", SMALL),
        lambda: loaded(content, SMALL),
        lambda: load_state_dict(io.BytesIO(content)),
        lambda: peek(io.BytesIO(content)),
    ):
        tracemalloc.start()
        try:
            with pytest.raises(SerialiseError):
                read()
            assert tracemalloc.get_traced_memory()[1] < 1 << 24
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 49]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [8, 56]},
        {"dtype": "F64", "shape": [2, -3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [2.0, 3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [True, 6], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [10**30, 0], "data_offsets": [0, 0]},
        {"dtype": "F64", "shape": [10**15], "data_offsets": [0, 8 * 10**15]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [48, 0]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48, 3]},
        {"dtype": "F65", "shape": [2, 3], "data_offsets": [0, 48]},
        {"dtype": 64, "shape": [2, 3], "data_offsets": [0, 48]},
        {"dtype": "F64", "shape": [2, 3]},
        {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48], "more": 1},
        {"dtype": "F64", "shape": [1] * 65, "data_offsets": [0, 8]},
    ],
)
def test_entries_that_lie(entry):
    like = {"w": np.zeros((2, 3))}
    with pytest.raises(SerialiseError):
        loaded(with_header({"w": entry}, bytes(48)), like)
    good = {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48]}
    assert tree_equal(loaded(with_header({"w": good}, bytes(48)), like), like)


def test_arrays_of_objects_and_shapes_and_tracers():
    with pytest.raises(SerialiseError, match="`x`.*pickle"):
        saved({"x": np.array([object()])})
    with pytest.raises(SerialiseError, match="`x`.*no values"):
        saved({"x": jax.ShapeDtypeStruct((2,), jnp.float32)})
    with pytest.raises(SerialiseError, match="`x`.*traced"):
        jax.jit(lambda x: saved({"x": x}))(1.0)


def test_the_library_refuses_what_we_refuse():
    """Not only we take a gap or an overlap for damage."""
    bad = with_header({"w": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}}, bytes(16))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(bad)
