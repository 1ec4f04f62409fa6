"""On trees of arrays every function equals that of JAX, bit for bit, with every option.

One table: functions and their options, by ours and by JAX; eagerly, and under `jit`, `vmap`, `jvp`
and `grad`. Loops and branches have a table of their own (test_control_flow.py), and so has
`filter_pmap`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import filtered_transforms as ft

pytestmark = pytest.mark.heavy

X = jnp.linspace(-1.0, 2.0, 6).reshape(2, 3)
V = jnp.array([0.5, -1.5, 2.0])
Run = Callable[[jax.Array, jax.Array], Any]


def tree(x: Any, v: Any) -> dict[str, Any]:
    return {"x": x, "v": [v, {}]}


def maths(t: Any) -> dict[str, Any]:
    x, v = t["x"], t["v"][0]
    return {"y": jnp.sin(x * v[None]) + x, "z": (x @ v).sum()}


def scalar(t: Any) -> jax.Array:
    out = maths(t)
    return out["y"].sum() + out["z"] ** 2


def with_aux(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda t: (f(t), {"aux": t["x"] * 2})


def of_complex(t: Any) -> jax.Array:
    return (t["x"] ** 2 * t["v"][0][None]).sum() + t["x"][0, 0]


def complex_tree(x: Any, v: Any) -> Any:
    return tree(jax.lax.complex(x, 2 * x), jax.lax.complex(v, -v))


def first_row(x: Any, v: Any) -> Any:
    return x[0] * v + 1


def jit(**options: Any) -> tuple[Run, Run]:
    return (
        lambda x, v: ft.filter_jit(maths, **options)(tree(x, v)),
        lambda x, v: jax.jit(maths, **options)(tree(x, v)),
    )


def grad(value: bool, make: Any = tree, of: Any = scalar, **options: Any) -> tuple[Run, Run]:
    ours = ft.filter_value_and_grad if value else ft.filter_grad
    theirs = jax.value_and_grad if value else jax.grad
    of = with_aux(of) if options.get("has_aux") else of
    return (
        lambda x, v: parts(ours(of, **options)(make(x, v))),
        lambda x, v: parts(theirs(of, **options)(make(x, v))),
    )


def jacobian(name: str, make: Any = tree, of: Any = maths, **options: Any) -> tuple[Run, Run]:
    ours, theirs = getattr(ft, f"filter_{name}"), getattr(jax, name)
    of = with_aux(of) if options.get("has_aux") else of
    return (
        lambda x, v: parts(ours(of, **options)(make(x, v))),
        lambda x, v: parts(theirs(of, **options)(make(x, v))),
    )


def parts(out: Any) -> Any:
    """Complex results as pairs of real ones, which the stages can take the gradient of."""
    return jax.tree.map(
        lambda a: (a.real, a.imag) if jnp.issubdtype(a.dtype, jnp.complexfloating) else a, out
    )


def vmap(f: Any, *args: Callable[[Any, Any], Any], **options: Any) -> tuple[Run, Run]:
    return (
        lambda x, v: ft.filter_vmap(f, **options)(*(arg(x, v) for arg in args)),
        lambda x, v: jax.vmap(f, **options)(*(arg(x, v) for arg in args)),
    )


def get_x(x: Any, v: Any) -> Any:
    return x


def get_v(x: Any, v: Any) -> Any:
    return v


def vjp(aux: bool) -> tuple[Run, Run]:
    def run(vjp: Any, x: Any, v: Any) -> Any:
        out, pull, *rest = vjp(with_aux(maths) if aux else maths, tree(x, v), has_aux=aux)
        return out, pull(jax.tree.map(jnp.cos, out)), rest

    return lambda x, v: run(ft.filter_vjp, x, v), lambda x, v: run(jax.vjp, x, v)


def linearize(lib: Any) -> Run:
    def run(x: Any, v: Any) -> Any:
        out, push = lib(maths, tree(x, v))
        return out, push(tree(x * 2, v))

    return run


def checkpoint(**options: Any) -> tuple[Run, Run]:
    def run(checkpoint: Any, x: Any, v: Any) -> Any:
        return jax.value_and_grad(checkpoint(scalar, **options))(tree(x, v))

    return lambda x, v: run(ft.filter_checkpoint, x, v), lambda x, v: run(jax.checkpoint, x, v)


def custom_jvp(x: Any, v: Any) -> Any:
    f = ft.filter_custom_jvp(maths)
    f.def_jvp(lambda p, t: jax.jvp(maths, p, jax.tree.map(lambda a: 3 * a, t)))
    return ft.filter_jvp(f, (tree(x, v),), (tree(x, v),))


def jax_custom_jvp(x: Any, v: Any) -> Any:
    f = jax.custom_jvp(maths)
    f.defjvp(lambda p, t: jax.jvp(maths, p, jax.tree.map(lambda a: 3 * a, t)))
    return jax.jvp(f, (tree(x, v),), (tree(x, v),))


def custom_vjp(x: Any, v: Any) -> Any:
    f = ft.filter_custom_vjp(lambda t: scalar(t))
    f.def_fwd(lambda perturbed, t: (scalar(t), None))
    f.def_bwd(lambda res, ct, perturbed, t: jax.tree.map(lambda a: 3 * ct * a, t))
    return jax.value_and_grad(f)(tree(x, v))


def jax_custom_vjp(x: Any, v: Any) -> Any:
    f = jax.custom_vjp(lambda t: scalar(t))
    f.defvjp(
        lambda t: (scalar(t), t),
        lambda t, ct: (jax.tree.map(lambda a: 3 * ct * a, t),),
    )
    return jax.value_and_grad(f)(tree(x, v))


def callback(method: str) -> tuple[Run, Run]:
    def numpy(t: Any) -> Any:
        return {"s": np.sin(t["x"]) * np.asarray(t["v"][0])[..., None, :]}

    def run(call: Any, x: Any, v: Any) -> Any:
        shape = {"s": jax.ShapeDtypeStruct(x.shape, x.dtype)}
        return call(numpy, tree(x, v), shape)["s"] * v[None]

    return (
        lambda x, v: run(
            lambda f, t, shape: ft.filter_pure_callback(
                f, t, result_shape_dtypes=shape, vmap_method=method
            ),
            x,
            v,
        ),
        lambda x, v: run(
            lambda f, t, shape: jax.pure_callback(f, shape, t, vmap_method=method), x, v
        ),
    )


def converted(x: Any, v: Any) -> Any:
    t = tree(x, v)
    return ft.filter_closure_convert(lambda s: maths({"x": s * x, "v": [v, {}]}), x)(t["x"])


AUTO = jax.sharding.AxisType.Auto
MESH = jax.make_mesh((1,), ("i",), axis_types=(AUTO,), devices=jax.devices()[:1])
SHARDING = NamedSharding(MESH, PartitionSpec("i"))

TABLE: dict[str, tuple[Run, Run]] = {
    "jit": jit(),
    "jit inline": jit(inline=True),
    "jit keep unused": jit(keep_unused=True),
    "grad": grad(False),
    "grad aux": grad(False, has_aux=True),
    "grad holomorphic": grad(False, complex_tree, of_complex, holomorphic=True),
    "grad allow_int": grad(False, allow_int=True),
    "value and grad": grad(True),
    "value and grad aux": grad(True, has_aux=True),
    "jacfwd": jacobian("jacfwd"),
    "jacfwd aux": jacobian("jacfwd", has_aux=True),
    "jacfwd holomorphic": jacobian("jacfwd", complex_tree, of_complex, holomorphic=True),
    "jacrev": jacobian("jacrev"),
    "jacrev aux": jacobian("jacrev", has_aux=True),
    "jacrev holomorphic": jacobian("jacrev", complex_tree, of_complex, holomorphic=True),
    "hessian": jacobian("hessian", of=scalar),
    "hessian aux": jacobian("hessian", of=scalar, has_aux=True),
    "hessian holomorphic": jacobian("hessian", complex_tree, of_complex, holomorphic=True),
    "jvp": (
        lambda x, v: ft.filter_jvp(maths, (tree(x, v),), (tree(x * x, v),)),
        lambda x, v: jax.jvp(maths, (tree(x, v),), (tree(x * x, v),)),
    ),
    "vjp": vjp(False),
    "vjp aux": vjp(True),
    "linearize": (linearize(ft.filter_linearize), linearize(jax.linearize)),
    "hvp": (
        lambda x, v: ft.filter_hvp(scalar, (tree(x, v),), (tree(x * x, v),)),
        lambda x, v: jax.jvp(jax.grad(scalar, (0,)), (tree(x, v),), (tree(x * x, v),)),
    ),
    "vmap": vmap(jnp.sin, get_x),
    "vmap axes": vmap(jnp.multiply, get_x, get_v, in_axes=(1, 0)),
    "vmap negative axes": vmap(jnp.multiply, get_x, get_v, in_axes=(-1, -1), out_axes=-1),
    "vmap of one": vmap(jnp.multiply, get_x, get_v, in_axes=(0, None), out_axes=1),
    "vmap trees": vmap(
        lambda t: {"a": t["x"] * 2, "b": t["v"][0].sum()},
        tree,
        in_axes=({"x": -1, "v": [None, {}]},),
        out_axes={"a": -1, "b": None},
    ),
    "vmap axis name": vmap(
        lambda x: (x - jax.lax.pmean(x, "rows"), jax.lax.axis_index("rows")),
        get_x,
        axis_name="rows",
        out_axes=(1, 0),
    ),
    "vmap axis size": vmap(
        lambda x: x * 2, get_x, in_axes=None, axis_size=3, out_axes=0
    ),
    "vmap spmd axis": vmap(jnp.sin, get_x, spmd_axis_name="i"),
    "nested vmap": (
        lambda x, v: ft.filter_vmap(ft.filter_vmap(jnp.multiply), in_axes=(0, None))(x, v),
        lambda x, v: jax.vmap(jax.vmap(jnp.multiply), in_axes=(0, None))(x, v),
    ),
    "checkpoint": checkpoint(),
    "checkpoint policy": checkpoint(policy=jax.checkpoint_policies.everything_saveable),
    "checkpoint dots": checkpoint(policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False),
    "custom jvp": (custom_jvp, jax_custom_jvp),
    "custom vjp": (custom_vjp, jax_custom_vjp),
    "closure convert": (converted, lambda x, v: maths({"x": x * x, "v": [v, {}]})),
    "pure callback sequential": callback("sequential"),
    "pure callback broadcast": callback("broadcast_all"),
    "pure callback expand": callback("expand_dims"),
    "shard": (
        lambda x, v: ft.filter_shard(tree(x, v), SHARDING),
        lambda x, v: jax.tree.map(
            lambda a: jax.lax.with_sharding_constraint(a, SHARDING), tree(x, v)
        ),
    ),
}  # fmt: skip


def total(out: Any) -> Any:
    floats = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, jnp.floating)]
    return sum(a.sum() for a in floats)


def stages(f: Run, jit: Any, vmap: Any, grad: Any, reverse: bool) -> Callable[..., Any]:
    """All stages as one program, which compiles sooner than four."""

    def run(x: jax.Array, v: jax.Array) -> dict[str, Any]:
        many = jnp.stack([v, -v])
        return {
            "jit": f(x, v),
            "vmap": vmap(f, in_axes=(None, 0))(x, many),
            "grad": grad(lambda args: total(f(*args)))((x, v)) if reverse else None,
            "jvp": jax.jvp(f, (x, v), (x, v)) if reverse else None,
        }

    return jit(run)


def weak(a: Any) -> bool:
    return getattr(a, "weak_type", False)  # JAX 0.7.2 gives the index of a vmapped axis by NumPy


def check_equal(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(ours)]
    pairs = zip(paths, jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    for path, a, b in pairs:
        assert a.dtype == b.dtype and weak(a) == weak(b), path
        np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.parametrize("name", TABLE)
def test_as_jax_bit_for_bit(name: str):
    ours, theirs = TABLE[name]
    check_equal(ours(X, V), theirs(X, V))
    reverse = "callback" not in name  # JAX has no derivative of those
    check_equal(
        stages(ours, ft.filter_jit, ft.filter_vmap, ft.filter_grad, reverse)(X, V),
        stages(theirs, jax.jit, jax.vmap, jax.grad, reverse)(X, V),
    )


def test_shapes_are_those_of_jax():
    shape = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert ft.filter_eval_shape(maths, tree(shape, V)) == jax.eval_shape(maths, tree(shape, V))
    ours, theirs = ft.filter_make_jaxpr(maths)(tree(X, V)), jax.make_jaxpr(maths)(tree(X, V))
    assert str(ours[0]) == str(theirs)
