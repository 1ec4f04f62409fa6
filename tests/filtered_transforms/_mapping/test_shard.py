"""`filter_shard` places arrays, traced ones too."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import filtered_transforms as ft


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


def test_shard():
    first, second = jax.devices()[:2]
    mesh = jax.sharding.Mesh(np.array([first, second]), ("d",))
    halves = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    tree = {"x": jnp.arange(4.0), "name": "n", "y": jnp.arange(2.0)}
    out = ft.filter_shard(tree, second)
    assert out["name"] == "n" and out["x"].devices() == out["y"].devices() == {second}
    out = ft.filter_shard(tree, {"x": halves, "name": first, "y": second})
    assert out["x"].sharding.is_equivalent_to(halves, 1) and out["y"].devices() == {second}
    traced = ft.filter_jit(lambda t: ft.filter_shard(t, halves))(tree)
    assert traced["x"].sharding.is_equivalent_to(halves, 1) and traced["name"] == "n"
    equal(traced["x"], tree["x"])
