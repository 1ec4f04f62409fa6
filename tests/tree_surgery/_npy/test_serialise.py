"""Saving and loading leaves: exact, whole or not at all, and never by pickle."""

import dataclasses as dc
import errno
import gzip
import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
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


# --- save, then load, is the identity --------------------------------------------------------

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


def test_shardings():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), "d")
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    x = jax.device_put(jnp.arange(4.0), spread)
    data = save([x])
    assert data == save([np.arange(4, dtype=np.float32)])
    (y,) = load(data, [jax.ShapeDtypeStruct((4,), jnp.float32, sharding=spread)])
    assert y.sharding == spread
    assert y.tolist() == [0, 1, 2, 3]


# --- the format ------------------------------------------------------------------------------


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


# --- where to --------------------------------------------------------------------------------


class AnyPath:
    """Neither a string nor of pathlib, as the paths of `epath`."""

    def __init__(self, path):
        self.path = str(path)

    def __fspath__(self):
        return self.path


# https://github.com/google/orbax/issues/741
@pytest.mark.parametrize("kind", [str, Path, AnyPath, os.fsencode])
@pytest.mark.parametrize(
    ("name", "made"),
    [("m", "m.eqx"), ("m.eqx", "m.eqx"), ("m.npz", "m.npz"), ("a.b.c", "a.b.c"), (".m", ".m.eqx")],
)
def test_paths(tmp_path, kind, name, made):
    tree = [jnp.ones(2), 3]
    tree_serialise_leaves(kind(tmp_path / name), tree)
    assert os.listdir(tmp_path) == [made]
    assert tree_equal(tree_deserialise_leaves(kind(tmp_path / name), [jnp.zeros(2), 0]), tree)


def test_streams_that_follow_each_other(tmp_path):
    with gzip.open(tmp_path / "m.gz", "wb") as file:
        file.write(json.dumps({"size": 2}).encode() + b"\n")
        tree_serialise_leaves(file, [jnp.ones(2)])
        tree_serialise_leaves(file, [5])
    with gzip.open(tmp_path / "m.gz", "rb") as file:
        size = json.loads(file.readline())["size"]
        assert tree_deserialise_leaves(file, [jnp.zeros(size)])[0].tolist() == [1, 1]
        assert tree_deserialise_leaves(file, [0]) == [5]


def test_stream_in_small_pieces():
    class Dripping:
        def __init__(self, data):
            self.file = io.BytesIO(data)

        def read(self, size):
            return self.file.read(min(size, 7))

    tree = [jnp.arange(100), True]
    assert tree_equal(
        tree_deserialise_leaves(Dripping(save(tree)), jax.tree.map(blank, tree)), tree
    )


def test_what_is_no_path():
    with pytest.raises(TypeError, match="`int`"):
        tree_serialise_leaves(3, [1])
    with pytest.raises(FileNotFoundError):
        tree_deserialise_leaves("/absent/file", [1])
    with pytest.raises(FileNotFoundError):
        tree_serialise_leaves("/absent/file", [1])


# --- the old file stays whole ----------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.eqx"
    tree_serialise_leaves(path, [jnp.zeros(3), 1])
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.eqx"]


def test_a_leaf_that_cannot_be_saved(saved):
    with pytest.raises(SerialiseError, match=r"`\[1\]`.*Python objects"):
        tree_serialise_leaves(saved, [jnp.ones(3), np.array([object()])])


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()]
)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_error_while_writing(saved, error, after):
    count = 0

    def spec(f, x):
        nonlocal count
        default_serialise_filter_spec(f, x)
        count += 1
        if count > after:
            raise error

    expected = SerialiseError if isinstance(error, ValueError) else type(error)
    with pytest.raises(expected):
        tree_serialise_leaves(saved, [jnp.ones(3), 2, 3], filter_spec=spec)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_at_the_end(saved, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"):
        tree_serialise_leaves(saved, [jnp.ones(3), 2])


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_while_writing(tmp_path):
    path = tmp_path / "model.eqx"
    tree_serialise_leaves(path, [1.5] * 3)
    before = path.read_bytes()
    code = f"""
import os, signal
from tree_surgery import default_serialise_filter_spec, tree_serialise_leaves
left = [2]
def spec(f, x):
    default_serialise_filter_spec(f, x)
    f.flush()
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
tree_serialise_leaves({str(path)!r}, [2.5] * 3, filter_spec=spec)
"""
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert tree_deserialise_leaves(path, [0.0] * 3) == [1.5] * 3


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_links_and_modes_stay(tmp_path):
    target, link = tmp_path / "target.eqx", tmp_path / "link.eqx"
    tree_serialise_leaves(target, [1])
    target.chmod(0o640)
    link.symlink_to(target)
    tree_serialise_leaves(link, [2])
    assert link.is_symlink()
    assert tree_deserialise_leaves(target, [0]) == [2]
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    tree_serialise_leaves("/dev/null", [1])
    assert not os.path.exists("/dev/null.eqx")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# --- files that do not fit -------------------------------------------------------------------

TREE = {"w": jnp.ones((2, 3)), "n": 3, "x": [1.5, True], "key": jax.random.key(0)}


@pytest.mark.parametrize(
    ("where", "like", "message"),
    [
        ("w", jnp.ones((3, 2)), r"`\['w'\]`.*\(3, 2\).*float32.*\(2, 3\).*float32"),
        ("w", jnp.ones((2, 3), jnp.int32), r"`\['w'\]`.*int32.*float32"),
        ("w", jnp.ones((2, 3), jnp.bfloat16), r"`\['w'\]`.*bfloat16.*float32"),
        ("w", np.ones((2, 3)), r"`\['w'\]`.*float64.*float32"),
        ("w", 1.0, r"`\['w'\]`.*Python float.*\(2, 3\)"),
        ("w", jax.random.split(jax.random.key(0), (2, 3)), r"`\['w'\]`.*key<fry>.*float32"),
        ("n", True, r"`\['n'\]`.*Python bool.*int64"),
        ("n", jnp.array(1), r"`\['n'\]`.*int32.*int64"),
        ("x", [1, True], r"`\['x'\]\[0\]`.*Python int.*float64"),
        ("x", [1.0, 1], r"`\['x'\]\[1\]`.*Python int.*bool"),
        ("x", [1.0], r"`\['x'\]`|goes on"),
        ("x", [1.0, True, 1], r"`\['x'\]\[2\]`.*ends here.*more leaves"),
        ("key", jax.random.key(0, impl="rbg"), r"`\['key'\]`.*key<rbg>.*key<fry>"),
        ("key", jnp.ones(2), r"`\['key'\]`.*float32.*prng_key:threefry2x32"),
    ],
)
def test_like_does_not_fit(tmp_path, where, like, message):
    tree_serialise_leaves(tmp_path / "m", TREE)
    with pytest.raises(SerialiseError, match=message):
        tree_deserialise_leaves(tmp_path / "m", TREE | {where: like})


def test_error_carries_what_it_says():
    with pytest.raises(SerialiseError) as info:
        load(save({"a": [jnp.ones(2)]}), {"a": [jnp.ones(3)]})
    assert info.value.path == "['a'][0]"
    assert info.value.expected == "shape (3,) and dtype float32"
    assert info.value.found == "shape (2,) and dtype float32"
    assert isinstance(info.value, RuntimeError)


def test_numbers_that_lose_nothing():
    assert repr(load(save([3, 3, 1.5]), [0.0, 0j, 0j])) == repr([3.0, 3 + 0j, 1.5 + 0j])
    assert load(save(jnp.array(3)), 0) == 3
    with pytest.raises(SerialiseError, match="no `float`"):
        load(save(2**53 + 1), 0.0)


def test_every_truncation_is_an_error(tmp_path):
    data = save(TREE)
    for size in range(len(data)):
        file = io.BytesIO(data[:size])
        with pytest.raises(SerialiseError, match="Leaf `"):
            tree_deserialise_leaves(file, TREE)
        assert file.tell() == 0


def test_trailing_data(tmp_path):
    path = tmp_path / "m.eqx"
    path.write_bytes(save(TREE) + b"x")
    with pytest.raises(SerialiseError, match="goes on"):
        tree_deserialise_leaves(path, TREE)


@given(st.data())
def test_damaged_files(data):
    """Any byte changed: an error of ours, or a tree of the right structure and shapes."""
    content = bytearray(save(TREE))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        new = load(bytes(content), TREE)
    except SerialiseError:
        return
    assert jtu.tree_structure(new) == jtu.tree_structure(TREE)
    assert new["w"].shape == (2, 3)


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("was unpickled",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        b"PK\x03\x04" + bytes(100),
        b"\x93NUMPY\x09\x00" + bytes(200),
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70000,
    ],
)
def test_foreign_files(content):
    with pytest.raises(SerialiseError):
        load(content, [jnp.ones(2)])


def test_nothing_is_unpickled():
    file = io.BytesIO()
    np.save(file, np.array([Hostile()], dtype=object), allow_pickle=True)
    for like in (np.array([None]), np.ones(1), jnp.ones(1), 1, 1.0):
        with pytest.raises(SerialiseError, match="pickle"):
            load(file.getvalue(), like)


def test_tracers_and_shapes_have_no_values():
    with pytest.raises(SerialiseError, match="traced"):
        jax.jit(lambda x: save([x]))(1.0)
    with pytest.raises(SerialiseError, match="no values"):
        save([jax.ShapeDtypeStruct((2,), jnp.float32)])


def test_x64():
    like = jax.ShapeDtypeStruct((2,), np.dtype("float64"))
    with pytest.raises(SerialiseError, match="jax_enable_x64"):
        load(save([np.ones(2)]), [like])


# --- filter_spec -----------------------------------------------------------------------------


def skip(f, x):
    return x


def as_half(f, x):
    np.save(f, np.asarray(x, np.float16))


def from_half(f, x):
    return jnp.asarray(np.load(f).astype(np.float32))


def test_filter_spec_is_a_prefix():
    tree = {"a": [jnp.ones(2), 2.0], "b": jnp.full(3, 0.5)}
    write = {"a": skip, "b": as_half}
    read = {"a": skip, "b": from_half}
    like = {"a": [jnp.zeros(2), 0.0], "b": jnp.zeros(3)}
    data = save(tree, filter_spec=write)
    assert len(data) == 128 + 6
    new = load(data, like, filter_spec=read)
    assert tree_equal(new, {"a": like["a"], "b": tree["b"]})


def test_is_leaf():
    seen = []
    save([None, (1, 2)], filter_spec=lambda f, x: seen.append(x), is_leaf=lambda x: x is None)
    assert seen == [None, 1, 2]
    seen.clear()
    save([(1, 2)], filter_spec=lambda f, x: seen.append(x), is_leaf=lambda x: type(x) is tuple)
    assert seen == [(1, 2)]


@pytest.mark.parametrize(
    ("like", "returned"),
    [
        (jnp.ones(2), "text"),
        (jnp.ones(2), None),
        (jnp.ones(2), jnp.ones(3)),
        (jnp.ones(2), jnp.ones(2, jnp.int32)),
        (jnp.ones(2), np.ones(2, np.float32)),
        (3, 3.0),
        ("text", 3),
        (3, (3, 4)),
    ],
)
def test_what_filter_spec_returns_must_fit(like, returned):
    with pytest.raises(SerialiseError, match=r"Leaf `\[0\]`.*returned"):
        load(b"", [like], filter_spec=lambda f, x: returned)


def test_filter_spec_that_fails():
    with pytest.raises(SerialiseError, match=r"`\['a'\]\[1\]`.*ZeroDivisionError") as info:
        save({"a": [1, 0]}, filter_spec=lambda f, x: 1 / x)
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("spec", [None, True, [default_serialise_filter_spec], [1, 2]])
def test_filter_spec_is_wrong(spec):
    with pytest.raises(ValueError, match="`filter_spec` must be"):
        save([1, 2], filter_spec=spec)


def test_a_path_that_can_read_and_write(tmp_path):
    class Local(AnyPath):
        def read(self):
            raise AssertionError

        def write(self, _):
            raise AssertionError

    tree_serialise_leaves(Local(tmp_path / "m"), [1])
    assert tree_deserialise_leaves(Local(tmp_path / "m"), [0]) == [1]
