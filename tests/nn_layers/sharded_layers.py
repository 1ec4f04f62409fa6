"""Run by `test_sharded_layers.py` in a process of its own with four devices.

Prints "done" if every layer has, with a batch over a part of a mesh, the values and gradients that
it has on one device: on automatic and on explicit axes, with its parameters replicated, or split
over the axis of the batch (FSDP) and over the other one (tensor parallelism); and within a
`shard_map` that checks what varies from device to device.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from test_all_layers import KEY, LAYERS, given, normal

import nn_layers as nn
from filtered_transforms import combine, is_array, is_inexact_array, partition
from tree_surgery import fsdp, tree_shardings

BATCH = 8


def each(call):
    """Calls a layer for each example."""
    return lambda layer, *x: jax.vmap(lambda *x: call(layer, *x))(*x)


def plain(make, *shapes):
    return make, lambda: [normal((BATCH, *shape)) for shape in shapes], each(lambda f, *x: f(*x))


def conv(**options):
    return nn.Conv1d(4, 4, 3, padding=1, **options, key=KEY)


def attention():
    return nn.MultiheadAttention(4, 8, num_kv_heads=2, key=KEY)


def generate(layer, x):
    cache, out = layer.init_cache(6), []
    for part in (x[:2], x[2:3], x[3:]):
        y, cache = layer(part, part, part, cache=cache, is_causal=True)
        out.append(y)
    return jnp.concatenate(out)


def batch_norm(mode):
    make = lambda: nn.make_with_state(nn.BatchNorm)(3, "batch", mode=mode)  # noqa: E731
    return make, lambda: [normal((BATCH, 3, 4))], with_state


def with_state(layer_and_state, x):
    layer, state = layer_and_state
    call = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return call(x, state)


SUBJECTS = {
    name: (make, lambda n=name: given(n, BATCH), each(lambda f, *x: f(*x)))
    for name, (make, *_) in LAYERS.items()
} | {
    "circular": plain(lambda: conv(padding_mode="CIRCULAR", groups=2), (4, 8)),
    "reflected": plain(lambda: conv(padding_mode="REFLECT"), (4, 6)),
    "pool with a rest": plain(lambda: nn.AvgPool2d(3, 2, padding=1, use_ceil=True), (2, 8, 8)),
    "uneven windows": plain(lambda: nn.AdaptiveAvgPool2d((2, 3)), (4, 5, 8)),
    "windows in space": plain(lambda: nn.AdaptiveMaxPool3d((2, 3, 1)), (4, 5, 8, 3)),
    "GroupNorm of images": plain(lambda: nn.GroupNorm(2, 4), (4, 6, 6)),
    "BatchNorm, ema": batch_norm("ema"),
    "BatchNorm, batch": batch_norm("batch"),
    "SpectralNorm": (
        lambda: nn.make_with_state(nn.SpectralNorm)(nn.Linear(3, 2, key=KEY), "weight", key=KEY),
        lambda: [normal((BATCH, 3))],
        with_state,
    ),
    "Dropout, random": (
        lambda: nn.Dropout(0.5),
        lambda: [normal((BATCH, 6)), jax.random.split(KEY, BATCH)],
        each(lambda f, x, key: f(x, key=key)),
    ),
    "attention": (attention, lambda: [normal((BATCH, 6, 8))], each(lambda f, x: f(x, x, x))),
    "attention with a cache": (attention, lambda: [normal((BATCH, 6, 8))], each(generate)),
    "Embedding of sequences": (
        lambda: nn.Embedding(6, 4, key=KEY),
        lambda: [np.arange(5 * BATCH).reshape(BATCH, 5) % 6],
        each(lambda f, x: jax.vmap(f)(x)),
    ),
    "positions": (
        lambda: nn.RotaryPositionalEmbedding(4),
        lambda: [normal((BATCH, 5, 4)), np.arange(5 * BATCH).reshape(BATCH, 5)],
        each(lambda f, x, positions: f(x, positions=positions)),
    ),
    "attention of many heads": (
        lambda: nn.MultiheadAttention(4, 8, key=KEY),
        lambda: [normal((BATCH, 6, 8))],
        each(lambda f, x: f(x, x, x)),
    ),
    "MLP, deep": plain(lambda: nn.MLP(4, 4, 8, 2, key=KEY), (4,)),
    "Stacked MLPs": plain(
        lambda: nn.Stacked(lambda key: nn.MLP(4, 4, 8, 2, key=key), 3, key=KEY), (4,)
    ),
    "MLP, scanned": plain(lambda: nn.MLP(3, 2, 4, 3, scan=True, key=KEY), (3,)),
    "LSTM": plain(lambda: nn.RNN(nn.LSTMCell(3, 2, key=KEY)), (5, 3)),
}

# JAX 0.7.2 itself fails there, in `scan` and in `random.bits`.
FAIL_ON_OLD_EXPLICIT = {"RNN", "Bidirectional", "LSTM", "Dropout, random"}

# JAX (0.7.2 to 0.12) has no sum over a mapped axis and one of a mesh where it checks what varies.
OVER_TWO_AXES = {"BatchNorm, ema", "BatchNorm, batch"}

SPLIT = fsdp("split", min_size=0, over=nn.tensor_parallel("other"))


def check(name, axis_types):
    make, inputs, call = SUBJECTS[name]
    x = tuple(inputs())
    params, static = partition(make(), is_inexact_array)

    def loss(params, x):
        out = call(nn.gather_where_used(combine(params, static), "split"), *x)
        real = [y for y in filter(is_array, jax.tree.leaves(out)) if is_inexact_array(y)]
        return sum(jnp.sum(jnp.sin(y)) for y in real), real

    program = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True, allow_int=True))
    expected = program(params, x)
    for axis_type in axis_types:
        mesh = jax.make_mesh((2, 2), ("split", "other"), axis_types=(axis_type,) * 2)
        everywhere = NamedSharding(mesh, P())
        copied = jax.tree.map(lambda _, place=everywhere: place, params)
        split = jax.tree.map(lambda _, s: s, params, tree_shardings(params, SPLIT, mesh))
        placed = {"copied": copied} | ({"split": split} if split != copied else {})
        for how, places in placed.items():
            with jax.set_mesh(mesh):
                batch = jax.device_put(x, NamedSharding(mesh, P("split")))
                received = program(jax.device_put(params, places), batch)
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(received), strict=True):
                if a.dtype != jax.dtypes.float0:
                    where = f"{name} on {axis_type}, parameters {how}"
                    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=where)
            # The gradient of a parameter lies where the parameter does.
            gradients = jax.tree.leaves(received[1][0])
            for gradient, place in zip(gradients, jax.tree.leaves(places), strict=True):
                if axis_type == AxisType.Explicit:
                    assert gradient.sharding.is_equivalent_to(place, gradient.ndim), name


def check_in_shards(name):
    """Each device has its part of the batch, in a `shard_map` that checks what varies."""
    make, inputs, call = SUBJECTS[name]
    x = tuple(inputs())
    params, static = partition(make(), is_inexact_array)

    def loss(params, reals, others, total):
        out = call(combine(params, static), *combine(reals, others))
        out = out[0] if call is with_state else out
        real = [y for y in filter(is_array, jax.tree.leaves(out)) if is_inexact_array(y)]
        return total(sum(jnp.sum(jnp.sin(y)) for y in real)), real

    def both(total):
        def body(params, x):
            reals, others = partition(x, is_inexact_array)
            values = jax.value_and_grad(loss, (0, 1), has_aux=True)
            (value, real), (of_params, of_x) = values(params, reals, others, total)
            return (value, of_params), (real, of_x)

        return body

    expected = jax.jit(both(lambda x: x))(params, x)
    mesh = jax.make_mesh((2,), ("split",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    body = both(lambda x: jax.lax.psum(x, "split"))
    shards = jax.shard_map(
        body, mesh=mesh, in_specs=(P(), P("split")), out_specs=(P(), P("split")), check_vma=True
    )
    received = jax.jit(shards)(params, x)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(received), strict=True):
        where = f"{name} in a shard_map"
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=where)


if __name__ == "__main__":
    failed = []
    for name in SUBJECTS:
        fails = jax.__version_info__ < (0, 8) and name in FAIL_ON_OLD_EXPLICIT
        try:
            check(name, [AxisType.Auto] if fails else [AxisType.Auto, AxisType.Explicit])
            if name not in OVER_TWO_AXES:
                check_in_shards(name)
        except Exception as error:
            failed.append(f"{name}: {error}")
    print("\n".join(failed) or "done")
