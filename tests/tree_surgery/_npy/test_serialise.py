"""Saving and loading leaves in order is the identity, in the format of NumPy and Equinox."""

import dataclasses as dc
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tree_surgery import (
    SerialisableLeaf,
    SerialiseError,
    default_deserialise_filter_spec,
    default_serialise_filter_spec,
    tree_deserialise_leaves,
    tree_equal,
    tree_serialise_leaves,
)


def save(tree, **kwargs):
    file = io.BytesIO()
    tree_serialise_leaves(file, tree, **kwargs)
    return file.getvalue()


def load(data, like, **kwargs):
    file = io.BytesIO(data)
    tree = tree_deserialise_leaves(file, like, **kwargs)
    assert file.read() == b"", "not all was read"
    return tree


def blank(x):
    """Something like `x` that does not hold its values."""
    if isinstance(x, jax.Array):
        return jax.ShapeDtypeStruct(x.shape, x.dtype)
    if isinstance(x, np.ndarray):
        return np.empty_like(x)
    if isinstance(x, np.generic):
        return x
    return type(x)() if isinstance(x, bool | int | float | complex) else x


JAX_DTYPES = [
    *("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "int4", "uint4"),
    *("float16", "float32", "complex64", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("float8_e4m3b11fnuz", "float8_e4m3fnuz", "float8_e5m2fnuz"),
]
NUMPY_DTYPES = [
    *JAX_DTYPES,
    *("int64", "uint64", "float64", "complex128", ">f4", "<U5", "S3", "M8[s]"),
]
SHAPES = [(), (1,), (1, 1), (3,), (2, 3), (0,), (0, 3), (3, 0)]


def values(shape, dtype):
    numbers = np.random.default_rng(0).integers(0, 2, shape)
    return np.asarray(numbers).astype(np.dtype(dtype))


def dtype_of(name):
    return np.dtype(getattr(jnp, name)) if hasattr(jnp, name) and name != "bool" else np.dtype(name)


# https://github.com/patrick-kidger/equinox/issues/914
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", JAX_DTYPES)
def test_jax_arrays(name, shape):
    x = jnp.asarray(values(shape, dtype_of(name)))
    for like in (x, blank(x), jnp.zeros_like(x)):
        (y,) = load(save([x]), [like])
        assert isinstance(y, jax.Array)
        assert tree_equal(x, y, typematch=True)


# https://github.com/patrick-kidger/equinox/issues/486, https://github.com/patrick-kidger/equinox/issues/511
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_numpy_arrays_and_scalars(name, shape):
    x = values(shape, dtype_of(name))
    (y,) = load(save([x]), [np.empty_like(x)])
    assert type(y) is np.ndarray
    assert tree_equal(x, y, typematch=True)
    if shape == ():
        scalar = x[()]
        (y,) = load(save([scalar]), [scalar])
        assert type(y) is type(scalar)
        assert y.dtype == scalar.dtype
        assert y == scalar


def test_fortran_order():
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    (y,) = load(save([x]), [np.zeros((2, 3))])
    assert tree_equal(x, y)
    assert y.flags.f_contiguous


def test_float0():
    x = np.zeros((2, 3), jax.dtypes.float0)
    (y,) = load(save([x]), [x])
    assert y.dtype == jax.dtypes.float0
    assert y.shape == (2, 3)


# https://github.com/patrick-kidger/equinox/issues/1255
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (0,)])
def test_typed_keys(impl, shape):
    x = jax.random.split(jax.random.key(7, impl=impl), shape)
    for like in (blank(x), jax.random.split(jax.random.key(0, impl=impl), shape)):
        (y,) = load(save([x]), [like])
        assert tree_equal(x, y, typematch=True)
        assert jax.random.key_impl(x) == jax.random.key_impl(y)


@given(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.integers(-(2**80), 2**80),
        st.floats(),
        st.complex_numbers(),
    )
)
def test_python_numbers(x):
    (y,) = load(save([x]), [blank(x)])
    assert type(y) is type(x)
    assert repr(y) == repr(x)


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_any_numpy_array(x):
    (y,) = load(save([x]), [np.empty_like(x)])
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    assert y.tobytes() == x.tobytes()


def test_other_leaves_come_from_like():
    tree = [1, "saved", jnp.sin, None, np.ones(2)]
    assert load(save(tree), [0, "like", jnp.cos, None, np.zeros(2)])[1:3] == ["like", jnp.cos]


@jtu.register_dataclass
@dc.dataclass(frozen=True)
class Model:
    weight: Any
    rest: Any


def test_structure_is_that_of_like():
    x = Model(jnp.ones((2, 3)), {"a": [1, (2.5, True)], "b": np.float64(3)})
    like = jax.tree.map(blank, x)
    new = load(save(x), like)
    assert tree_equal(x, new, typematch=True)
    assert like.rest["a"] == [0, (0.0, False)]


# https://github.com/patrick-kidger/equinox/issues/166, https://github.com/patrick-kidger/equinox/issues/167
def test_a_leaf_that_saves_itself():
    class State:
        def __init__(self, init, key):
            self.init, self.key = init, key

        def __serialise_leaf__(self, f):
            default_serialise_filter_spec(f, self.init)
            default_serialise_filter_spec(f, self.key)

        def __deserialise_leaf__(self, f):
            init = default_deserialise_filter_spec(f, self.init)
            return State(init, default_deserialise_filter_spec(f, self.key))

    x = State(jnp.ones(3), jax.random.key(1))
    assert isinstance(x, SerialisableLeaf)
    (before, y, after) = load(save([1, x, 2]), [0, State(jnp.zeros(3), jax.random.key(0)), 0])
    assert (before, after) == (1, 2)
    assert tree_equal([y.init, y.key], [x.init, x.key])
    with pytest.raises(SerialiseError, match=r"Leaf `\[1\]`.*\(4,\).*\(3,\)"):
        load(save([1, x, 2]), [0, State(jnp.zeros(4), x.key), 0])


def test_the_format_is_numpys():
    tree = [jnp.arange(3), np.ones((2, 1)), True, 3, 1.5, 2j, np.int8(4), "not saved", None]
    file = io.BytesIO(save(tree))
    records = [np.load(file, allow_pickle=False) for _ in range(7)]
    assert file.read() == b""
    expected = [
        np.arange(3, dtype=np.int32),
        np.ones((2, 1)),
        np.array(True),
        np.array(3),
        np.array(1.5),
        np.array(2j),
        np.array(4, np.int8),
    ]
    assert tree_equal(records, expected)


def test_bytes_as_equinox_writes_them():
    """What Equinox 0.13.8 writes for `jnp.array([1, 2], jnp.bfloat16)`, copied from a file."""
    header = b"{'descr': '<V2', 'fortran_order': False, 'shape': (2,), }"
    record = b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n" + b"\x80\x3f\x00\x40"
    x = jnp.array([1, 2], jnp.bfloat16)
    assert save(x) == record
    assert tree_equal(load(record, blank(x)), x)


# Written before, with each kind of leaf that there is. Never write it anew: if these tests fail,
# users cannot load what they saved.
BEFORE = Path(__file__).parent / "data" / "leaves.eqx"


class Text:
    """A leaf that writes itself."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return self.text == other.text

    def __serialise_leaf__(self, f):
        f.write(self.text.encode())

    def __deserialise_leaf__(self, f):
        return Text(f.read(len(self.text.encode())).decode())


def tree_of_before():
    nested = np.dtype([("a", "<f4"), ("b", [("c", "<i2", (2,)), ("d", "<U2")])])
    return [
        jnp.arange(6.0).reshape(2, 3),
        jnp.ones(2, jnp.bfloat16),
        jnp.array([1, -2, 3], jnp.int4),
        jnp.ones(2, jnp.float8_e5m2),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.zeros(2, nested),
        np.zeros((2, 0)),
        np.zeros(2, jax.dtypes.float0),
        jax.random.key(7),
        jax.random.split(jax.random.key(1, impl="rbg"), 2),
        Text("what it wrote: é"),
        *(True, 3, -(10**30), 2**63, 0.1, float("-inf"), 1.5 - 2j, np.float32(2.5)),
        *(jnp.sin, "text", None),
    ]


def test_what_is_written_now_is_what_was_written_before(tmp_path):
    assert save(tree_of_before()) == BEFORE.read_bytes()
    tree_serialise_leaves(tmp_path / "m", tree_of_before())
    assert (tmp_path / "m.eqx").read_bytes() == BEFORE.read_bytes()


def test_what_was_written_before_is_read():
    tree = tree_of_before()
    new = tree_deserialise_leaves(BEFORE, jax.tree.map(blank, tree))
    assert tree_equal(new, tree, typematch=True)
