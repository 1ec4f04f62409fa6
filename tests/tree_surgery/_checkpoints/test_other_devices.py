"""Checkpoints of arrays that are spread: read in parts, onto other numbers of devices."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tree_surgery import Checkpoints, tree_equal, tree_shardings

VALUES = {
    "rows": np.arange(32, dtype=np.float32).reshape(8, 4),
    "columns": np.arange(32, dtype=np.int8).reshape(4, 8),
    "copied": np.arange(3, dtype=jnp.bfloat16),
}
RULES = [("rows", P("data")), ("columns", P(None, "data"))]


def over(devices: int, kind: AxisType = AxisType.Auto) -> jax.sharding.Mesh:
    return jax.make_mesh((devices,), ("data",), (kind,), devices=jax.devices()[:devices])


def spread(mesh):
    placed = tree_shardings(VALUES, RULES, mesh)
    tree = {name: jax.device_put(value, placed[name]) for name, value in VALUES.items()}
    keys = jax.random.split(jax.random.key(0), 4)
    return tree | {"keys": jax.device_put(keys, NamedSharding(mesh, P("data")))}


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("before, after", [(2, 2), (2, 1), (1, 2)])
def test_every_number_of_devices_reads_what_another_saved(tmp_path, kind, before, after):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, spread(over(before, kind)))
        like = spread(over(after, kind))
        described = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        for target in (like, described):
            found = checkpoints.load(target)
            assert tree_equal(found, like)
            for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True):
                assert x.sharding == y.sharding


def test_a_skeleton_of_explicit_axes_needs_only_the_mesh_of_the_context(tmp_path):
    mesh = over(2, AxisType.Explicit)
    with Checkpoints(tmp_path) as checkpoints, jax.set_mesh(mesh):
        tree = spread(mesh)
        checkpoints.save(0, tree)
        skeleton = jax.eval_shape(lambda tree: tree, tree)
        found = checkpoints.load(skeleton)
        assert tree_equal(found, tree)
        assert found["rows"].sharding.is_equivalent_to(tree["rows"].sharding, 2)


def test_arrays_are_cast_in_parts(tmp_path, monkeypatch):
    mesh = over(2)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, spread(mesh))
        like = jax.ShapeDtypeStruct((8, 4), jnp.float16, sharding=NamedSharding(mesh, P("data")))
        read: list[type] = []
        restore = checkpoints.manager.restore

        def watched(*args, **kwargs):
            found = restore(*args, **kwargs)
            read.extend(type(x) for x in (found.get("tree") or {}).values() if hasattr(x, "dtype"))
            return found

        monkeypatch.setattr(checkpoints.manager, "restore", watched)
        found, _ = checkpoints.load({"rows": like}, strict=False, dtype="like")
    assert len(read) == 1 and issubclass(read[0], jax.Array)  # never whole, and nothing else
    assert found["rows"].dtype == jnp.float16 and found["rows"].sharding == like.sharding
    np.testing.assert_array_equal(found["rows"], VALUES["rows"])


@pytest.mark.devices
def test_all_processes_of_a_job_save_and_load_together(
    run_job: Callable[..., None], tmp_path: Path
):
    run_job(Path(__file__).parent / "in_processes.py", str(tmp_path))
    # In one process, with two devices instead of four.
    with Checkpoints(tmp_path / "folder") as checkpoints:
        assert checkpoints.steps == [2, 3] and checkpoints.peek().metadata == {"processes": 2}
        like = spread(over(2)) | {"step": 0}
        found = checkpoints.load(like)
        assert tree_equal(found, spread(over(2)) | {"step": 3})
        checkpoints.to_safetensors(tmp_path / "file")
