"""Run by `test_in_processes.py`, once for each process of a job: checks that fail in one of them.

python in_processes.py PORT PROCESSES PROCESS
"""

import sys

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_jit, filter_shard_map
from runtime_checks import EquinoxRuntimeError, error_if

port, count, index = map(int, sys.argv[1:4])
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", count, index, initialization_timeout=60)

mesh = jax.make_mesh((2 * count,), ("data",), axis_types=(AxisType.Auto,))
split = NamedSharding(mesh, P("data"))


@filter_jit
def on_all(x):
    return error_if(x, x < 0, "negative").sum()


@filter_jit
def in_shards(x):
    def part(x):
        return jax.lax.psum(error_if(x, x < 0, "negative").sum(), "data")

    return filter_shard_map(part, mesh=mesh, in_specs=P("data"), out_specs=P())(x)


@filter_jit
def of_the_sum(x):
    total = x.sum()
    return error_if(total, total < 28, "too small")


for program, message in ((on_all, "at 6"), (in_shards, "negative"), (of_the_sum, "too small")):
    right = np.arange(8.0)
    wrong = right.copy()
    wrong[6] = -1  # which only the last process has
    for values in (right, wrong, right):
        x = jax.make_array_from_callback(values.shape, split, values.__getitem__)
        try:
            found = float(program(x))
        except EquinoxRuntimeError as error:
            assert values is wrong and message in str(error), error
        else:
            assert values is right and found == 28
print("done")
