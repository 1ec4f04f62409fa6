"""Arrays that are sharded, traced, typed or large: what is read of them, and where they are put.

Both formats, files by name and files in order, must do the same.
"""

import io
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tree_surgery import (
    SerialiseError,
    load,
    save,
    tree_deserialise_leaves,
    tree_equal,
    tree_serialise_leaves,
)

FORMATS = [(save, load), (tree_serialise_leaves, tree_deserialise_leaves)]
both = pytest.mark.parametrize(("write", "read"), FORMATS, ids=["by name", "in order"])


def written(write, tree):
    file = io.BytesIO()
    write(file, tree)
    return file.getvalue()


def sharding(*axes):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), "d")
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


@both
@pytest.mark.parametrize("axes", [("d",), (None, "d"), (), (None,)])
def test_shardings(write, read, axes):
    """A sharded array is written as if it were not, and is read to where `like` says."""
    x = jax.device_put(jnp.arange(8.0).reshape(4, 2), sharding(*axes))
    data = written(write, {"x": x})
    assert data == written(write, {"x": np.arange(8.0, dtype=np.float32).reshape(4, 2)})
    like = {"x": jax.ShapeDtypeStruct((4, 2), jnp.float32, sharding=sharding("d"))}
    (y,) = read(io.BytesIO(data), like).values()
    assert y.sharding == sharding("d") and y.tolist() == x.tolist()
    keys = jax.device_put(jax.random.split(jax.random.key(0), 4), sharding("d"))
    like = jax.ShapeDtypeStruct(keys.shape, keys.dtype, sharding=sharding("d"))
    again = read(io.BytesIO(written(write, keys)), like)
    assert tree_equal(again, keys) and again.sharding == sharding("d")


@both
def test_arrays_are_loaded_to_where_those_of_like_are(write, read):
    tree = {"x": jnp.arange(8.0).reshape(4, 2), "keys": jax.random.split(jax.random.key(0), 4)}
    file = io.BytesIO(written(write, tree))
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


@both
def test_shapes_over_explicit_axes_are_loaded_where_the_mesh_is_set(write, read):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = jax.sharding.PartitionSpec("d")
    tree = {"x": jnp.arange(8.0).reshape(4, 2), "keys": jax.random.split(jax.random.key(0), 4)}
    file = io.BytesIO(written(write, tree))
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


@both
def test_an_array_that_other_processes_hold_is_refused(monkeypatch, write, read):
    x = jax.device_put(jnp.arange(8.0), sharding("d"))
    monkeypatch.setattr(type(x), "is_fully_addressable", False)
    with pytest.raises(SerialiseError, match="`.*w.*`.*process_allgather"):
        write(io.BytesIO(), {"w": x})


@both
def test_what_has_no_values_is_refused(write, read):
    with pytest.raises(SerialiseError, match="`.*x.*`.*pickle"):
        write(io.BytesIO(), {"x": np.array([object()])})
    with pytest.raises(SerialiseError, match="`.*x.*`.*no values"):
        write(io.BytesIO(), {"x": jax.ShapeDtypeStruct((2,), jnp.float32)})
    with pytest.raises(SerialiseError, match="`.*x.*`.*traced"):
        jax.jit(lambda x: write(io.BytesIO(), {"x": x}))(1.0)


@both
def test_64_bits_need_x64(write, read):
    like = {"x": jax.ShapeDtypeStruct((2,), np.dtype("float64"))}
    with pytest.raises(SerialiseError, match="`.*x.*`.*jax_enable_x64"):
        read(io.BytesIO(written(write, {"x": np.ones(2)})), like)


class Nowhere(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        return len(data)


@both
def test_memory_while_saving(write, read):
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


@both
def test_memory_while_loading(tmp_path, write, read):
    """Beyond the tree itself, which is in NumPy's memory here, less than a fifth of a leaf."""
    tree = [np.full((1 << 18,), i, np.float32) for i in range(6)]
    like = [np.empty(1 << 18, np.float32) for _ in range(6)]
    write(tmp_path / "m", tree)
    tracemalloc.start()
    try:
        new = read(tmp_path / "m", like)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tree_equal(new, tree)
    assert peak < 6 * (1 << 20) + 0.2 * (1 << 20) + 200_000


@both
def test_the_loaded_arrays_are_their_own(write, read):
    """Their memory is taken over from the reader, so nobody else may hold it: donation shows."""
    x = jnp.arange(1024.0)
    data = written(write, {"x": x})
    one, other = (read(io.BytesIO(data), {"x": x}) for _ in range(2))
    new = jax.jit(lambda x: x + 1, donate_argnums=0)(one["x"])
    assert new[3] == 4 and other["x"][3] == 3
