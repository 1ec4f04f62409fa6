"""Run by `test_training_on_devices.py` in a process of its own with eight devices.

Prints "done" if each step of training gives on 1, 2, 4 and 8 devices what it gives on one without a
mesh: the batch is split over the devices, and so are the parameters.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import equinoctial as eqx

KEY = jax.random.key(0)
BATCH, LENGTH, SIZE = 16, 6, 8
RULES = eqx.fsdp("data", min_size=0)
X = np.asarray(jax.random.normal(KEY, (BATCH, LENGTH, SIZE)))


class Dropping(eqx.Module):
    linear: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self):
        self.linear, self.dropout = eqx.nn.Linear(SIZE, SIZE, key=KEY), eqx.nn.Dropout(0.5)

    def __call__(self, x, key):
        return self.dropout(jax.vmap(self.linear)(x), key=key)


def dropout(model, x):
    def loss(model, x):
        return jnp.mean(jax.vmap(model)(x, jax.random.split(KEY, BATCH)) ** 2)

    return eqx.filter_value_and_grad(loss)(model, x)


def checkpointed(model, x):
    def loss(model, x):
        def step(h, x):
            h = jnp.tanh(jax.vmap(model)(h + x))
            return h, None

        inputs = jnp.swapaxes(x, 0, 1)
        return jnp.mean(eqx.filter_scan(step, inputs[0], inputs, kind="checkpointed")[0] ** 2)

    return eqx.filter_value_and_grad(loss)(model, x)


def generate(layer, x):
    def one(x):
        cache, out = layer.init_cache(LENGTH), []
        for part in (x[:2], x[2:3], x[3:]):
            y, cache = layer(part, part, part, cache=cache, is_causal=True)
            out.append(y)
        return jnp.concatenate(out)

    return eqx.filter_value_and_grad(lambda layer, x: jnp.mean(jax.vmap(one)(x) ** 2))(layer, x)


class LowRank(eqx.Module):
    base: eqx.nn.Linear
    down: jax.Array
    up: jax.Array

    def __init__(self):
        self.base = eqx.nn.Linear(SIZE, SIZE, key=KEY)
        self.down = jax.random.normal(KEY, (SIZE, SIZE))
        self.up = jnp.ones((SIZE, SIZE)) / 10

    def __call__(self, x):
        return self.base(x) + self.up @ (self.down @ x)


def low_rank(model, x):
    def loss(model, x):
        model = eqx.unfreeze(model)
        return jnp.mean(jax.vmap(jax.vmap(model))(x) ** 2)

    return eqx.filter_value_and_grad(loss)(model, x)


def accumulated(model, x):
    def loss(model, x):
        return jnp.mean(jax.vmap(jax.vmap(model))(x) ** 2)

    def add(total, x):
        grads = eqx.filter_grad(loss)(model, x)
        return jax.tree.map(jnp.add, total, grads), None

    zero = jax.tree.map(jnp.zeros_like, eqx.filter(model, eqx.is_inexact_array))
    parts = jnp.swapaxes(x.reshape(BATCH // 2, 2, LENGTH, SIZE), 0, 1)
    return eqx.filter_scan(add, zero, parts)[0]


STEPS = {
    "dropout": (Dropping, dropout),
    "checkpointed loop": (lambda: eqx.nn.Linear(SIZE, SIZE, key=KEY), checkpointed),
    "KV cache": (lambda: eqx.nn.MultiheadAttention(2, SIZE, key=KEY), generate),
    "frozen base, low rank": (lambda: eqx.freeze(LowRank(), "base"), low_rank),
    "accumulated gradients": (lambda: eqx.nn.MLP(SIZE, SIZE, 16, 1, key=KEY), accumulated),
}


def same(found, expected, where):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        if eqx.is_array(b):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6, err_msg=where)


def batch_norm(mesh):
    """Over all devices of the mesh; without one, over the whole batch in one place."""
    axes = "batch" if mesh is None else ("batch", "data")
    layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(SIZE, axes, mode="batch")

    def apply(layer, state, x):
        call = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        return call(x, state)

    if mesh is not None:
        specs = {"x": P("data"), "layer": P(), "state": P()}
        out = (P("data"), P())
        apply = eqx.filter_shard_map(
            apply, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False
        )

    def loss(layer, x):
        y, new = apply(layer, state, x)
        return jnp.mean(jnp.sin(3 * y)), new

    found = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))(layer, X[:, 0])
    return jax.tree.leaves(eqx.filter(found, eqx.is_inexact_array))


def main():
    for name, (make, step) in STEPS.items():
        program, model = eqx.filter_jit(step), make()
        expected = program(model, X)
        for n in (1, 2, 4, 8):
            mesh = jax.make_mesh((n,), ("data",), (AxisType.Auto,), devices=jax.devices()[:n])
            with jax.set_mesh(mesh):
                placed = eqx.filter_device_put(model, RULES)
                batch = eqx.filter_device_put(X, P("data"))
                same(program(placed, batch), expected, f"{name} on {n} devices")
    expected = batch_norm(None)
    for n in (1, 2, 4, 8):
        mesh = jax.make_mesh((n,), ("data",), (AxisType.Auto,), devices=jax.devices()[:n])
        same(batch_norm(mesh), expected, f"BatchNorm on {n} devices")
    print("done")


if __name__ == "__main__":
    main()
