"""`filter_jit` inside and around other transformations, and with sharded arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0)


class Scale(Module):
    weight: jax.Array
    name: str = "scale"

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.weight * x

    def named(self, x: jax.Array) -> tuple[jax.Array, str]:
        return self.weight * x, self.name


def scaled(x: jax.Array, factor: Any = 2) -> jax.Array:
    return x * factor


def test_inside_other_transformations():
    f = ft.filter_jit(lambda x, power, name: (x**power, name))

    def value(x: jax.Array) -> jax.Array:
        return f(x, 2, "square")[0].sum()

    np.testing.assert_array_equal(jax.grad(value)(X), 2 * X)
    np.testing.assert_array_equal(jax.vmap(lambda x: f(x, 2, "s")[0])(X), X**2)
    np.testing.assert_array_equal(jax.jit(lambda x: f(x, 2, "s")[0])(X), X**2)
    np.testing.assert_array_equal(jax.hessian(value)(X), 2 * jnp.eye(3))
    carry, _ = jax.lax.scan(lambda c, _: (f(c, 2, "s")[0], None), X, None, length=2)
    np.testing.assert_array_equal(carry, X**4)
    assert ft.filter_eval_shape(f, X, 2, "s") == (jax.ShapeDtypeStruct((3,), jnp.float32), "s")
    with jax.disable_jit():
        assert f(X, 2, "s")[1] == "s"
    _, pullback = jax.vjp(value, X)
    np.testing.assert_array_equal(pullback(jnp.array(1.0))[0], 2 * X)


# https://github.com/patrick-kidger/equinox/issues/988
@pytest.mark.parametrize("inline", [False, True])
def test_nested_jit_in_scan_in_eval_shape(inline: bool):
    inner = ft.filter_jit(lambda x: (x + 1, "static"), inline=inline)

    @ft.filter_jit
    def outer(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (inner(c)[0], None), x, None, length=2)[0]

    assert ft.filter_eval_shape(outer, X) == jax.ShapeDtypeStruct((3,), jnp.float32)
    np.testing.assert_array_equal(outer(X), X + 2)


def test_inside_and_around_shard_map():
    mesh = jax.make_mesh((2,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("i")
    x = jnp.arange(4.0)

    @ft.filter_jit
    def scaled(scale: Scale, x: jax.Array, name: str) -> tuple[jax.Array, str]:
        return x * scale.weight + jax.lax.psum(x.sum(), "i"), name

    scale = Scale(jnp.array(3.0))

    def value(scale: Scale, x: jax.Array) -> jax.Array:
        def block(weight: jax.Array, x: jax.Array) -> jax.Array:
            out, name = scaled(Scale(weight), x, "s")
            assert name == "s"
            return out

        specs = jax.sharding.PartitionSpec(), spec
        shards = jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=spec)
        return shards(scale.weight, x)

    expected = 3 * x + x.sum()
    for f in (value, ft.filter_jit(value)):
        np.testing.assert_array_equal(f(scale, x), expected)
        gradient = ft.filter_grad(lambda scale, f=f: f(scale, x).sum())(scale)
        np.testing.assert_array_equal(gradient.weight, x.sum())


def test_sharded_arguments():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("d",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    x = jax.device_put(jnp.arange(4.0), sharding)
    out, name = ft.filter_jit(lambda x, name: (x + 1, name))(x, "n")
    assert out.sharding.is_equivalent_to(sharding, 1) and name == "n"
