"""`filter_shard_map`, against `jax.shard_map` on the arrays alone."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import filtered_transforms as ft
from pytree_module import Module

AXIS_TYPES = [AxisType.Auto, AxisType.Explicit]
X = np.arange(24, dtype="f4").reshape(8, 3)
ROW = jnp.arange(3.0)[None]


def mesh_of(kind: AxisType = AxisType.Auto) -> Any:
    return jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=jax.devices()[:2])


MESH = mesh_of()


def centred(x: Any, scale: Any) -> Any:
    """What one device does is not what the whole would: the mean is that of a part."""
    return (x - x.mean()) * scale, jax.lax.psum(x.sum(), "data")


# in_specs, and what `jax.shard_map` gives for which in_specs
IN_SPECS: list[tuple[Any, Any]] = [
    ((P("data"), None), (P("data"), P())),
    ((P("data"), P()), (P("data"), P())),
    ({"x": P("data")}, (P("data"), P())),
    ((ft.if_array(P("data")), None), (P("data"), P())),
    ((lambda x: P(*[None] * (x.ndim - 1), "data"), None), (P(None, "data"), P())),
]


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("case", IN_SPECS, ids=lambda case: re.sub(" at 0x.*?>", "", repr(case[0])))
def test_in_specs(case: Any, jitted: bool):
    in_specs, theirs = case
    x, scale = np.arange(32, dtype="f4").reshape(8, 4), jnp.float32(3)
    out_specs = (theirs[0], P())
    f = ft.filter_shard_map(centred, mesh=MESH, in_specs=in_specs, out_specs=out_specs)
    g = jax.shard_map(centred, mesh=MESH, in_specs=theirs, out_specs=out_specs)
    found = (ft.filter_jit(f) if jitted else f)(x, scale)
    for a, b in zip(found, g(x, scale), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.sharding.is_equivalent_to(b.sharding, a.ndim)


class Scale(Module):
    weight: jax.Array
    activation: Any

    def __call__(self, x: Any) -> Any:
        return self.activation(x * self.weight), self.activation


@pytest.mark.parametrize("kind", AXIS_TYPES)
def test_what_is_no_array_passes_in_and_out(kind: AxisType):
    mesh = mesh_of(kind)
    model = Scale(ROW, jnp.tanh)

    def run(model: Any, x: Any, name: str, flag: bool) -> Any:
        y, activation = model(x)
        return {
            "y": y,
            "name": name + "!",
            "activation": activation,
            "flag": not flag,
            "none": None,
        }

    with jax.set_mesh(mesh):
        f = ft.filter_shard_map(run, in_specs=(None, P("data"), None, None), out_specs=P("data"))
        x = jax.device_put(X, P("data"))  # explicit axes ask for what `in_specs` say
        out = ft.filter_jit(f)(model, x, "name", True)
    assert (out["name"], out["activation"], out["flag"], out["none"]) == (
        "name!",
        jnp.tanh,
        False,
        None,
    )
    np.testing.assert_allclose(out["y"], np.tanh(X * np.arange(3)), rtol=1e-6)


def test_a_module_is_whole_on_each_device():
    model = Scale(ROW, jnp.tanh)
    f = ft.filter_shard_map(model, mesh=MESH, in_specs=(P("data"),), out_specs=(P("data"), None))
    y, activation = ft.filter_jit(f)(X)
    assert activation is jnp.tanh
    np.testing.assert_allclose(y, np.tanh(X * np.arange(3)), rtol=1e-6)
    leaves = jax.tree.leaves(ft.filter(f, ft.is_array))
    assert len(leaves) == 1 and leaves[0] is model.weight  # its parameters stay visible


def test_gradients_are_those_of_the_whole():
    def loss(weight: Any, x: Any) -> Any:
        return jax.lax.pmean(jnp.mean((x * weight) ** 2), "data")

    f = ft.filter_shard_map(loss, mesh=MESH, in_specs=(None, P("data")), out_specs=P())
    for g in (
        ft.filter_grad(f),
        ft.filter_jit(ft.filter_grad(f)),
        ft.filter_grad(ft.filter_jit(f)),
    ):
        found = g(ROW, X)
        np.testing.assert_allclose(found[0], 2 * np.arange(3) * (X**2).mean(0) / 3, rtol=1e-6)


def test_in_a_scan_and_under_vmap():
    f = ft.filter_shard_map(
        lambda x, name: (jax.lax.psum(x, "data"), name),
        mesh=MESH, in_specs=(P("data"), None), out_specs=(P(), None),
    )  # fmt: skip

    def step(carry: Any, x: Any) -> Any:
        y, name = f(x, "name")
        assert name == "name"
        return carry + y.sum(), y

    total, ys = ft.filter_jit(ft.filter_scan)(step, jnp.float32(0), jnp.asarray(X).reshape(4, 2, 3))
    np.testing.assert_allclose(total, X.sum(), rtol=1e-6)
    np.testing.assert_allclose(ys[:, 0], X.reshape(4, 2, 3).sum(1), rtol=1e-6)
    ys, name = ft.filter_jit(ft.filter_vmap(f))(jnp.asarray(X).reshape(4, 2, 3), "name")
    assert name == "name"
    np.testing.assert_allclose(ys[:, 0], X.reshape(4, 2, 3).sum(1), rtol=1e-6)


def test_one_trace_for_equal_specs():
    count = 0

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x

    for _ in range(3):
        g = ft.filter_shard_map(f, mesh=MESH, in_specs=(P("data"),), out_specs=P("data"))
        ft.filter_jit(g)(X)
    assert count == 1
    assert g == ft.filter_shard_map(f, mesh=MESH, in_specs=(P("data"),), out_specs=P("data"))


def test_as_a_decorator_of_a_method():
    class Model(Module):
        weight: jax.Array

        @ft.filter_shard_map(mesh=MESH, in_specs={"x": P("data")}, out_specs=P("data"))
        def scaled(self, x: Any) -> Any:
            """Scales."""
            return x * self.weight

    assert Model.scaled.__doc__ == "Scales."
    np.testing.assert_array_equal(Model(ROW).scaled(X), X * np.arange(3, dtype="f4"))


def test_uneven_parts_name_the_path_and_what_is_missing():
    f = ft.filter_shard_map(lambda x: x, mesh=MESH, in_specs=P("data"), out_specs=P("data"))
    with pytest.raises(
        ValueError, match=r"shape \(7, 3\) at args\[0\]\['images'\].* 1 elements are missing to 8"
    ):
        f({"images": X[:7]})


WRONG: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no prefix": ((P("data"), None, None), P("data"), ValueError, r"`in_specs` does not fit"),
    "an axis of vmap": ((0,), P("data"), ValueError, r"`in_specs` has or gives a int at \[0\]: 0"),
    "no prefix of the result": ((P("data"),), [P()] * 3, ValueError, r"`out_specs` does not fit"),
    "no such parameter": ({"y": P("data")}, P("data"), ValueError, r"\('y',\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_specs_that_do_not_fit(name: str):
    in_specs, out_specs, kind, message = WRONG[name]
    f = ft.filter_shard_map(lambda x: [x, x], mesh=MESH, in_specs=in_specs, out_specs=out_specs)
    with pytest.raises(kind, match=message):
        f(X)


def test_keywords_are_refused():
    f = ft.filter_shard_map(lambda x: x, mesh=MESH, in_specs=(P(),), out_specs=P())
    with pytest.raises(RuntimeError, match="keyword arguments cannot be used"):
        f(x=X)


def test_arrays_keep_their_place():
    placed = jax.device_put(X, NamedSharding(MESH, P("data")))
    f = ft.filter_shard_map(lambda x: x, mesh=MESH, in_specs=(P("data"),), out_specs=P("data"))
    out = ft.filter_jit(f)(placed)
    assert out.sharding.is_equivalent_to(placed.sharding, 2)


# What `filter_shard_map` relies on in JAX: where this fails, it needs another way.
@pytest.mark.parametrize("jitted", [False, True])
def test_jax_reads_out_specs_after_the_trace(jitted: bool):
    out_specs: list[Any] = []

    def f(x: Any) -> list[Any]:
        out_specs[:] = [P("data"), P()]
        return [x, jnp.ones(4)]

    sharded = jax.shard_map(f, mesh=MESH, in_specs=P("data"), out_specs=out_specs)
    same, ones = (jax.jit(sharded) if jitted else sharded)(X)
    np.testing.assert_array_equal(same, X)
    np.testing.assert_array_equal(ones, np.ones(4))
