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
from runtime_checks import Enumeration, EquinoxRuntimeError, check, error_if

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


class Result(Enumeration):
    fine = "all is well"
    negative = "negative input"
    very_negative = "very negative input"


def classified(x):
    item = Result.where(x > -5, Result.negative, Result.very_negative)
    return item.error_if(x, x < 0)


def shown(x):
    check(x < 0, "shown", x=x, double=2 * x)
    return x


def in_while(x):
    return jax.lax.while_loop(lambda c: c[0] < 10, lambda c: positive(c) + 4, x)


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
    "index": (jax.vmap(classified), sharded),
    "shown": (jax.vmap(shown), sharded),
    "index in shard_map": (shard_map(jax.vmap(classified)), sharded),
    "shown in shard_map": (shard_map(jax.vmap(shown)), sharded),
    "shard_map, a branch": (
        shard_map(lambda x: jax.lax.cond(x[0] < 4, positive, jnp.cos, x)),
        sharded,
    ),
    "shard_map, a while loop": (shard_map(in_while), sharded),
    "explicit shard_map": (shard_map(lambda x: positive(x) * 2), sharded),
}


def reported(name, error, shard):
    if name.startswith("shown"):
        assert error.message == "shown"
        np.testing.assert_equal(error.values, {"x": np.float32(-5), "double": np.float32(-10)})
    else:
        assert error.message.endswith("negative input"), error
    if name.startswith(("index", "shown")):
        assert error.message in ("very negative input", "shown")
        assert error.index == (((shard, 0),) if "shard_map" in name else ((4 * shard,),))
        at = error.index[0] if "shard_map" in name else error.index[0][0]
        assert f"It failed for 1 of {x.size} elements, at {at}." in str(error)
        text = jit(CASES[name][0]).lower(sharded).compile().as_text()
        assert "all-gather" not in text and "all-to-all" not in text


# Under plain `jax.jit`: those that fail could not make the other shards fail, which may never come
# to the check, and all would wait for each other without end, were it to pass or not.
REFUSED = {
    "shard_map of some axes",
    "shard_map with a loop",
    "shard_map out of step",
    "shard_map, a branch",
    "shard_map, a while loop",
}


def run(name):
    f, good = CASES[name]
    g = jit(f)
    if jit_name == "jit" and name in REFUSED:
        try:
            g(good)
        except NotImplementedError as error:
            assert "Use `filter_jit`" in str(error)
            return
        raise AssertionError(f"{name}: nothing was raised")
    expected = jax.tree.map(np.asarray, g(good))
    for shard in (0, devices - 1):  # one element, of one shard
        bad = jax.device_put(np.where(np.arange(x.size) == 4 * shard, -5, x), good.sharding)
        try:
            jax.block_until_ready(g(bad))
        except (EquinoxRuntimeError, jax.errors.JaxRuntimeError) as error:
            own = EquinoxRuntimeError.of(error)
            assert isinstance(error, EquinoxRuntimeError) and own.message in str(error), error
            assert type(error) is EquinoxRuntimeError or jit_name == "jit"
            reported(name, own, shard)
        else:
            assert name == "shard_map, a branch" and shard > 0, f"{name}: nothing was raised"
        for a, b in zip(jax.tree.leaves(g(good)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(jnp.sum(sharded), x.sum())


if case in ("all", "explicit all"):
    is_explicit = case.startswith("explicit")
    selected = [name for name in CASES if name.startswith("explicit") == is_explicit]
else:
    selected = case.split("; ")
for name in selected:
    run(name)
print("done")
