"""Run by `test_sharded.py` in a process of its own: `sharded.py CASE JIT`.

A check over all devices fails, twice, and nothing is wrong afterwards.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_jit
from runtime_checks import EquinoxRuntimeError, error_if

case, jit_name = sys.argv[1:]
devices = len(jax.devices())

jit = {"jit": jax.jit, "filter_jit": filter_jit}[jit_name]
kind = AxisType.Explicit if case.startswith("explicit") else AxisType.Auto
mesh = jax.make_mesh((devices // 2, 2), ("a", "b"), axis_types=(kind, kind))
both = P(("a", "b"))
x = np.arange(4.0 * devices, dtype=np.float32)
sharded = jax.device_put(x, NamedSharding(mesh, both))
copied = jax.device_put(x, NamedSharding(mesh, P()))
weights = jax.device_put(np.ones((64, 64), np.float32), NamedSharding(mesh, P("a", "b")))


def positive(x):
    return error_if(x, x < 0, "negative input")


def reduced(x):
    y = jax.lax.psum(positive(x), ("a", "b"))
    return jax.lax.psum(y, "a") + 0 * x


def in_loop(x):
    return jax.lax.fori_loop(0, 5, lambda i, c: positive(c) + jax.lax.pmean(c, "a") * 0, x)


def uneven(x):
    # As many steps as the shard has numbers to count: the shards do not stay in step.
    n = jax.lax.axis_index("b") * 3 + 1
    return jax.lax.fori_loop(0, n, lambda i, c: positive(c) + 1, x)


def shard_map(f):
    return jax.shard_map(f, mesh=mesh, in_specs=both, out_specs=both)


def partly(x):
    return jax.shard_map(positive, mesh=mesh, in_specs=P("b"), out_specs=P("b"), axis_names={"b"})(
        x
    )


CASES = {
    "sharded": (lambda x: positive(x) * 2, sharded),
    "replicated": (lambda x: positive(x) * 2, copied),
    "explicit": (lambda x: positive(x) * 2, sharded),
    "collectives": (lambda x: (positive(x).sum(), (weights @ weights.T).sum()), sharded),
    "scan": (lambda x: jax.lax.fori_loop(0, 5, lambda i, c: positive(c) + 1, x), sharded),
    "vmap": (lambda x: jax.vmap(positive)(x) * 2, sharded),
    "grad": (lambda x: jax.grad(lambda x: (positive(x) ** 2).sum())(x), sharded),
    "shard_map": (shard_map(lambda x: positive(x) * 2), sharded),
    "shard_map of replicated": (shard_map(lambda x: positive(x) * 2), copied),
    "shard_map with psum": (shard_map(reduced), sharded),
    "shard_map with a loop": (shard_map(in_loop), sharded),
    "shard_map in a scan": (
        lambda x: jax.lax.fori_loop(0, 3, lambda i, c: shard_map(positive)(c) + 1, x),
        sharded,
    ),
    "shard_map out of step": (shard_map(uneven), sharded),
    "shard_map of some axes": (partly, copied),
    "explicit shard_map": (shard_map(lambda x: positive(x) * 2), sharded),
}


def run(name):
    f, good = CASES[name]
    g = jit(f)
    expected = jax.tree.map(np.asarray, g(good))
    for shard in (0, devices - 1):  # one element, of one shard
        bad = jax.device_put(np.where(np.arange(x.size) == 4 * shard, -5, x), good.sharding)
        try:
            jax.block_until_ready(g(bad))
        except (EquinoxRuntimeError, jax.errors.JaxRuntimeError) as error:
            assert "negative input" in str(error), error
            if jit_name == "filter_jit":
                assert type(error) is EquinoxRuntimeError
        else:
            raise AssertionError(f"{name}: nothing was raised")
        for a, b in zip(jax.tree.leaves(g(good)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(jnp.sum(sharded), x.sum())


selected = [name for name in CASES if name.startswith("explicit") == case.startswith("explicit")]
for name in selected if case in ("all", "explicit all") else [case]:
    run(name)
print("done")
