"""Run by `test_sharded_convolutions.py` in a process of its own, with 2, 4 or 8 devices.

Prints "done" if the convolutions named by its arguments have over all devices the values and
derivatives of a convolution without groups on one device, whose kernel has zeros between groups.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import combine, is_array, partition
from nn_layers import Conv, ConvTranspose

KEY = jax.random.key(0)

# name -> the class, and its arguments but for the key
LAYERS = {
    "groups": (Conv, {"groups": 2}),
    "depthwise": (Conv, {"groups": 8}),
    "depthwise, two each": (Conv, {"groups": 8, "out": 16}),
    "stride": (Conv, {"groups": 4, "stride": 2, "padding": 1}),
    "dilation": (Conv, {"groups": 2, "dilation": 2, "padding": "SAME"}),
    "circular": (Conv, {"groups": 2, "padding": "SAME", "padding_mode": "CIRCULAR"}),
    "two dimensions": (Conv, {"ndim": 2, "groups": 8, "padding": ((1, 0), (0, 2))}),
    "a large kernel": (Conv, {"ndim": 2, "groups": 8, "kernel_size": 5, "padding": 2}),
    "transposed": (ConvTranspose, {"groups": 2}),
    "transposed, stride": (
        ConvTranspose,
        {"groups": 8, "stride": 2, "padding": 1, "output_padding": 1},
    ),
    "transposed, cut off": (ConvTranspose, {"groups": 4, "padding": 3, "dilation": 2}),
    "no groups, transposed": (ConvTranspose, {"stride": 2}),
}
TWICE = ("groups", "depthwise")  # also second derivatives


def make(name):
    layer, options = LAYERS[name]
    options = {"kernel_size": 3, "ndim": 1, "out": 8} | options
    ndim, out = options.pop("ndim"), options.pop("out")
    return layer(ndim, 8, out, **options, key=KEY), (8, 8, *(16, 8)[:ndim])


def meshes(axis_type):
    """Over one axis, and over two of which the other holds copies."""
    n = len(jax.devices())
    for copies in (1, 2, 4):
        if copies < n:
            shape = n // copies, copies
            yield jax.make_mesh(shape, ("split", "copies"), axis_types=(axis_type,) * 2)


def without_groups(layer):
    """The same layer as one of one group."""
    n, (out, each, *kernel) = layer.groups, layer.weight.shape
    same_group = jnp.eye(n).reshape(n, 1, n, 1, *(1 for _ in kernel))
    weight = layer.weight.reshape(n, out // n, 1, each, *kernel) * same_group
    whole = object.__new__(type(layer))
    vars(whole).update(vars(layer), groups=1, weight=weight.reshape(out, n * each, *kernel))
    return whole


def derivatives(call, arrays, x, dx, twice):
    def loss(arrays, x):
        return jnp.sum(jnp.sin(jax.vmap(call(arrays))(x)))

    def length(arrays, x):
        grads = jax.grad(loss)(arrays, x)
        return sum(jnp.vdot(g, g) for g in jax.tree.leaves(grads))

    forward = jax.jvp(loss, (arrays, x), (jax.tree.map(jnp.sin, arrays), dx))
    backward = jax.grad(loss, (0, 1))(arrays, x)
    return forward, backward, jax.grad(length, (0, 1))(arrays, x) if twice else None


def check(name, axis_type, spec):
    layer, shape = make(name)
    x, dx = (np.random.default_rng(i).normal(size=shape).astype("f4") for i in range(2))
    arrays, static = partition(layer, is_array)
    twice = name in TWICE
    grouped = jax.jit(lambda *a: derivatives(lambda p: combine(p, static), *a, twice))
    whole = jax.jit(lambda *a: derivatives(lambda p: without_groups(combine(p, static)), *a, twice))
    expected = whole(arrays, x, dx)
    compare(name, expected, grouped(arrays, x, dx))
    for mesh in meshes(axis_type):
        split, copied = NamedSharding(mesh, spec), NamedSharding(mesh, P())
        with jax.set_mesh(mesh):
            received = grouped(*jax.device_put((arrays, x, dx), (copied, split, split)))
        compare(f"{name} on {mesh}", expected, received)


def compare(what, expected, received):
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(received), strict=True):
        tolerance = 1e-5 * float(jnp.max(jnp.abs(a)))
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=tolerance, err_msg=what)


def check_that_xla_needs_it():
    """Fails once JAX's own gradient is right, and `nn_layers._conv.convolve._in_groups` can go."""
    x = np.random.default_rng(0).normal(size=(8, 4, 16)).astype("f4")
    grad = jax.jit(
        jax.grad(
            lambda w, x: jnp.sum(
                jax.lax.conv_general_dilated(x, w, (1,), "SAME", feature_group_count=2) ** 2
            )
        )
    )
    weight = np.ones((4, 2, 3), "f4")
    *_, mesh = meshes(AxisType.Auto)
    copied, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("split"))
    received = grad(jax.device_put(weight, copied), jax.device_put(x, split))
    factor = mesh.shape["copies"]
    np.testing.assert_allclose(received, factor * grad(weight, x), rtol=1e-4)


if __name__ == "__main__":
    for case in sys.argv[1:]:
        if case == "XLA":
            check_that_xla_needs_it()
        elif case == "all":
            for each in LAYERS:
                check(each, AxisType.Auto, P("split"))
        elif case == "explicit":
            for each in ("groups", "depthwise", "transposed"):
                check(each, AxisType.Explicit, P("split"))
        elif case == "space":
            for each in ("groups", "depthwise", "two dimensions"):
                check(each, AxisType.Auto, P(None, None, "split"))
        else:
            check(case, AxisType.Auto, P("split"))
    print("done")
