"""`filter_shard` and `filter_device_put`: whatever says where, against `jax.device_put`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

import filtered_transforms as ft
from tree_surgery import ShardingRules, fsdp, tree_shardings

DEVICES = jax.devices()[:2]
MESHES = {
    kind: jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=DEVICES)
    for kind in (AxisType.Auto, AxisType.Explicit)
}
ROWS, COLUMNS = P("data"), P(None, "data")


def tree() -> dict[str, Any]:
    return {"x": jnp.arange(8.0).reshape(4, 2), "y": jnp.arange(6.0).reshape(2, 3), "f": jnp.tanh}


# What is said, and the spec that `x` and `y` then have.
PLACES: dict[str, tuple[Any, Any, Any]] = {
    "one for all": (ROWS, ROWS, ROWS),
    "a tree": ({"x": COLUMNS, "y": ROWS, "f": None}, COLUMNS, ROWS),
    "for arrays": (ft.if_array(ROWS), ROWS, ROWS),
    "by path": (lambda path, leaf: COLUMNS if path == "['x']" else ROWS, COLUMNS, ROWS),
    "by rules": (ShardingRules([("x", COLUMNS)]) + fsdp("data", min_size=0), COLUMNS, ROWS),
    "by a tree of functions": (
        {"x": lambda path, leaf: P(*["data"][: leaf.ndim]), "y": ROWS, "f": None}, ROWS, ROWS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("put", [ft.filter_shard, ft.filter_device_put])
@pytest.mark.parametrize("name", PLACES)
def test_every_way_to_say_where(name: str, put: Any, kind: AxisType):
    where, x, y = PLACES[name]
    mesh, given = MESHES[kind], tree()
    with jax.set_mesh(mesh):
        eager = put(given, where)
        traced = ft.filter_jit(lambda t: ft.filter_shard(t, where))(given)
    for out in (eager, traced):
        assert out["f"] is jnp.tanh
        for key, spec in (("x", x), ("y", y)):
            np.testing.assert_array_equal(out[key], given[key])
            expected = jax.device_put(given[key], NamedSharding(mesh, spec))
            assert out[key].sharding.is_equivalent_to(expected.sharding, 2)


@pytest.mark.parametrize("put", [ft.filter_shard, ft.filter_device_put])
def test_without_a_surrounding_mesh(put: Any):
    mesh = MESHES[AxisType.Auto]
    shardings = tree_shardings(tree(), fsdp("data", min_size=0), mesh)
    out = put(tree(), shardings)
    assert [out[k].sharding.spec for k in "xy"] == [ROWS, ROWS]
    assert out["f"] is jnp.tanh
    with_devices = put(tree(), {"x": DEVICES[1], "y": SingleDeviceSharding(DEVICES[1]), "f": None})
    assert with_devices["x"].devices() == with_devices["y"].devices() == {DEVICES[1]}


def test_none_leaves_an_array_where_it_is():
    x = jax.device_put(jnp.ones(3), DEVICES[1])
    for put in (ft.filter_shard, ft.filter_device_put):
        assert put(x, None).devices() == {DEVICES[1]}


def test_arrays_of_numpy_are_put_too():
    out = ft.filter_device_put({"x": np.arange(4.0, dtype="f4"), "n": 3}, DEVICES[1])
    assert out["x"].devices() == {DEVICES[1]} and out["n"] == 3 and type(out["n"]) is int
    np.testing.assert_array_equal(out["x"], np.arange(4))


def test_donated_arrays_are_gone_and_others_are_not():
    x = jax.device_put(jnp.arange(4.0), DEVICES[0])
    kept = ft.filter_device_put(x, DEVICES[1])
    assert not x.is_deleted()
    ft.filter_device_put(x, DEVICES[0], donate=True)
    np.testing.assert_array_equal(kept, np.arange(4))


@pytest.mark.parametrize("put", [ft.filter_shard, ft.filter_device_put])
def test_what_says_nothing_of_a_place_is_told_with_the_path(put: Any):
    with pytest.raises(TypeError, match=r"for \['x'\] it has or gives a str: 'data'"):
        put(tree(), {"x": "data", "y": None, "f": None})
    with pytest.raises(ValueError, match="does not fit what it is for"):
        put(tree(), {"x": None})


def test_rules_need_a_mesh():
    with pytest.raises(ValueError, match="there is none here.*jax.set_mesh"):
        ft.filter_shard(tree(), fsdp("data"))


def test_descriptions_of_arrays_say_where_they_will_lie():
    mesh = jax.sharding.AbstractMesh((4,), ("data",))
    model = jax.eval_shape(lambda: {"x": jnp.ones((4, 2)), "y": jnp.ones((2, 3))})
    for where in (NamedSharding(mesh, ROWS), {"x": NamedSharding(mesh, ROWS), "y": None}):
        found = ft.filter_shard(model, where)
        assert (found["x"].shape, found["x"].dtype) == ((4, 2), jnp.float32)
        assert found["x"].sharding == NamedSharding(mesh, ROWS)
    assert found["y"] is model["y"]
    with jax.set_mesh(MESHES[AxisType.Auto]):
        assert ft.filter_shard(model, ROWS)["y"].sharding.spec == ROWS
    (device, *_) = DEVICES
    assert ft.filter_shard(model, device)["x"].sharding == SingleDeviceSharding(device)
