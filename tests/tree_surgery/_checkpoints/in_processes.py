"""Run by `test_other_devices.py`, once for each process of a job: checkpoints are saved and loaded.

python in_processes.py PORT PROCESSES PROCESS FOLDER
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tree_surgery import Checkpoints, SerialiseError

port, count, index = map(int, sys.argv[1:4])
folder = Path(sys.argv[4])
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", count, index, initialization_timeout=60)

mesh = jax.make_mesh((2 * count,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
VALUES = {
    "rows": np.arange(32, dtype=np.float32).reshape(8, 4),
    "columns": np.arange(32, dtype=np.int8).reshape(4, 8),
    "copied": np.arange(3, dtype=jnp.bfloat16),
}
SPECS = {"rows": P("data"), "columns": P(None, "data"), "copied": P(), "keys": P("data")}
KEYS = jax.random.split(jax.random.key(0), 4)


def over(mesh, specs):
    found = {
        name: jax.make_array_from_callback(
            value.shape, NamedSharding(mesh, specs[name]), value.__getitem__
        )
        for name, value in VALUES.items()
    }
    keys = jax.jit(lambda: KEYS, out_shardings=NamedSharding(mesh, specs["keys"]))()
    return found | {"keys": keys}


def parts(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return [np.asarray(shard.data) for shard in x.addressable_shards]


tree = over(mesh, SPECS)
assert not tree["rows"].is_fully_addressable
with Checkpoints(folder / "folder", keep=2) as checkpoints:
    for step in range(4):
        assert checkpoints.save(step, {**tree, "step": step}, metadata={"processes": count})
        assert not checkpoints.reached_preemption(step)
    assert checkpoints.latest == 3
    try:
        checkpoints.to_safetensors(folder / "never")
    except SerialiseError as error:
        assert "a program of one process" in str(error)
    else:
        raise AssertionError

    # In the same layout, and in another of the same processes.
    for specs in (SPECS, SPECS | {"rows": P(None, "data"), "columns": P(), "keys": P()}):
        like = over(mesh, specs)
        described = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        for target in (like, described):
            found = checkpoints.load({**target, "step": 0})
            assert found.pop("step") == 3
            for name, x in found.items():
                assert x.sharding == like[name].sharding
                for a, b in zip(parts(x), parts(like[name]), strict=True):
                    np.testing.assert_array_equal(a, b)

print("done")
