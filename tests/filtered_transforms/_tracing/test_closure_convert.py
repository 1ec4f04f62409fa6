"""`filter_closure_convert`: a function as its program and what it has closed over."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import filtered_transforms as ft
from pytree_module import Module

X = jnp.arange(3.0) + 1
V = jnp.array([2.0, -1.0, 0.5])


class Model(Module):
    weight: jax.Array
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation(self.weight * x)


def equal(x: Any, y: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, x, y)


def test_closure_convert():
    def convert(w: jax.Array, x: jax.Array) -> Any:
        f = ft.filter_closure_convert(lambda x, s, *, k: (w * x + k, s, 3, len), x, "s", k=x)
        return f(2 * x, "s", k=x)

    for wrap in (lambda f: f, ft.filter_jit):
        out = wrap(convert)(V, X)
        equal(out[0], V * 2 * X + X)
        assert out[1:] == ("s", 3, len)
    out = jax.vmap(lambda w: convert(w, X)[0])(jnp.stack([V, X]))
    equal(out, jnp.stack([V * 2 * X + X, X * 2 * X + X]))
    equal(jax.grad(lambda w: convert(w, X)[0].sum())(V), 2 * X)
    equal(jax.grad(lambda x: convert(V, x)[0].sum())(X), 2 * V + 1)
    f = ft.filter_closure_convert(Model(V), X)
    assert [type(leaf) for leaf in jax.tree.leaves(f)][1:] == [type(V)]  # after the program
    equal(f(X), Model(V)(X))
    equal(ft.filter_grad(lambda f: f(X).sum())(f).consts[0], ft.filter_grad(total)(Model(V)).weight)
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    equal(ft.filter_closure_convert(Model(V), shape)(X), Model(V)(X))


def total(m: Model) -> jax.Array:
    return m(X).sum()


def test_what_is_no_array_can_be_exchanged():
    # optimistix makes the programs of two conversions of one function one.
    one, other = (ft.filter_closure_convert(Model(w), X) for w in (V, 2 * V))
    mixed = ft.combine(ft.filter(other, ft.is_array), ft.filter(one, ft.is_array, inverse=True))
    equal(mixed(X), Model(2 * V)(X))
    assert mixed.jaxpr is one.jaxpr


def test_closure_converted_tells_its_shapes():
    def two(x: Any, n: int, *, k: str) -> Any:
        return {"y": x[:2] * n, "k": k}

    f = ft.filter_closure_convert(two, jnp.ones(3), 2, k="k")
    shape = jax.ShapeDtypeStruct((3,), jnp.float32)
    assert f.in_struct == ((shape, 2), {"k": "k"})
    assert f.out_struct == {"y": jax.ShapeDtypeStruct((2,), jnp.float32), "k": "k"}


# https://github.com/patrick-kidger/equinox/issues/854
def test_closure_convert_compares_shapes_and_dtypes_alone():
    f = ft.filter_closure_convert(lambda x: x * 2, jnp.asarray(1.0))
    assert f(jnp.array(1.0, jnp.float32)) == 2.0 == f(np.float32(1))
    first, second = jax.devices()[:2]
    mesh = jax.sharding.Mesh(np.array([first, second]), ("d",))
    halves = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    f = ft.filter_closure_convert(jnp.sin, jnp.arange(4.0))
    equal(f(jax.device_put(jnp.arange(4.0), halves)), jnp.sin(jnp.arange(4.0)))

    def inside(x: jax.Array) -> jax.Array:
        g = ft.filter_closure_convert(lambda y: jnp.sin(y) + x, x)
        return g(x) + f2(x)

    f2 = ft.filter_closure_convert(jnp.sin, jnp.zeros(2))
    spec = jax.sharding.PartitionSpec("d")
    mapped = jax.shard_map(inside, mesh=mesh, in_specs=spec, out_specs=spec)
    x = jnp.arange(4.0)
    equal(jax.jit(mapped)(x), jnp.sin(x) + x + jnp.sin(x))


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((X[:2], "s"), {}, r"different dynamic .*\[0\]\[0\].*float32\[3\].*float32\[2\]"),
        ((jnp.arange(3), "s"), {}, r"different dynamic .*float32\[3\].*int32\[3\]"),
        ((1.0, "s"), {}, r"different dynamic .*float32\[3\].*called with 1.0"),
        ((X, "t"), {}, r"different static .*\[0\]\[1\].*with 's', and called with 't'"),
        ((X,), {}, r"the structure is another. At \[0\]"),
        ((X,), {"s": "s"}, r"the structure is another"),
    ],
)
def test_closure_convert_errors(args: Any, kwargs: Any, message: str):
    f = ft.filter_closure_convert(lambda x, s: x, X, "s")
    with pytest.raises(ValueError, match=f"Closure-converted function called with.*{message}"):
        f(*args, **kwargs)
    with pytest.raises(TypeError, match="expects a function"):
        ft.filter_closure_convert(1)
