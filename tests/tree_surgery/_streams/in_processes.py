"""Run by `test_several_processes.py`, once for each process of a job: a tree is saved and loaded.

python in_processes.py PORT PROCESSES PROCESS FOLDER
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import tree_surgery._safetensors.writer as writer
from tree_surgery import SerialiseError, load, save

port, count, index = map(int, sys.argv[1:4])
folder = Path(sys.argv[4])
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", count, index, initialization_timeout=60)

mesh = jax.make_mesh((2 * count,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
VALUES = {
    "rows": np.arange(32.0, dtype=np.float32).reshape(8, 4),
    "columns": np.arange(32, dtype=np.int8).reshape(4, 8),
    "copied": np.array(7.0, dtype=jnp.bfloat16),
}
SPECS = {"rows": P("data"), "columns": P(None, "data"), "copied": P()}


def numbers(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def over(mesh, values):
    return {
        name: jax.make_array_from_callback(
            value.shape, NamedSharding(mesh, SPECS[name]), value.__getitem__
        )
        for name, value in values.items()
    }


tree = over(mesh, VALUES)
KEYS = jax.random.split(jax.random.key(3), 4)
VALUES |= {"keys": KEYS, "key": KEYS[0]}
tree["keys"] = jax.jit(lambda: KEYS, out_shardings=NamedSharding(mesh, P("data")))()
tree["key"] = jax.jit(lambda: KEYS[0], out_shardings=NamedSharding(mesh, P()))()
assert not tree["rows"].is_fully_addressable
mine = {"step": 3, "process": np.array(index)}  # of process 0 in the file
save(folder / "whole", {**tree, **mine}, metadata={"processes": count})
assert (folder / "whole.safetensors").exists()  # for every process, once it has come back

# Another layout of the same processes.
other = {name: NamedSharding(mesh, P()) for name in VALUES}
for like in (
    tree,
    {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=other[n]) for n, x in tree.items()},
):
    found = load(folder / "whole", {**like, **mine})
    assert found["step"] == 3 and found["process"] == 0
    for name, value in VALUES.items():
        wanted = like[name].sharding
        assert found[name].sharding.is_equivalent_to(wanted, value.ndim)
        for shard in found[name].addressable_shards:
            np.testing.assert_array_equal(
                numbers(shard.data), numbers(value[shard.index[: value.ndim]])
            )


def fail(*args):
    raise OSError("no space left")


def metadata_of(is_wrong):
    return {"f": object()} if is_wrong else None


deleted = {"y": over(mesh, {"rows": VALUES["rows"]})["rows"], "z": tree["rows"]}
deleted["y"].delete()
# What fails in one process is an error for every process, and the old file stays.
before = (folder / "whole.safetensors").read_bytes()
for number, (path, saved, metadata, expected) in enumerate(
    [
        (folder / "missing" / "x", tree, None, [FileNotFoundError, SerialiseError]),
        (folder / "whole", tree, metadata_of(index == 0), [SerialiseError, SerialiseError]),
        (folder / "whole", tree, metadata_of(index == 1), [SerialiseError, SerialiseError]),
        (folder / "whole", deleted, None, [RuntimeError, RuntimeError]),
        (folder / "whole", tree, None, [OSError, SerialiseError]),
    ]
):
    if number == 4:
        writer.write_all = fail
    try:
        save(path, saved, metadata=metadata)
    except expected[index] as caught:
        told = "could not" in str(caught)
        assert told == (expected[index] is SerialiseError and metadata is None), (number, caught)
    else:
        raise AssertionError(f"nothing was raised by {number}")
assert (folder / "whole.safetensors").read_bytes() == before
assert [file.name for file in folder.iterdir() if file.suffix == ".tmp"] == []
print("done")
