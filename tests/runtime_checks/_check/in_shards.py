"""Run by `test_in_shards.py` in a process of its own: `in_shards.py JIT`.

A check in a `shard_map`, reached in every way in which a function can be called, in the body itself
and where one of the two shards goes alone. It prints each row before it runs.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from filtered_transforms import filter_checkpoint, filter_custom_jvp, filter_custom_vjp, filter_jit
from runtime_checks import EquinoxRuntimeError, error_if

jit = {"jit": jax.jit, "filter_jit": filter_jit}[sys.argv[1]]
mesh = jax.make_mesh((1, 2), ("a", "b"), axis_types=(AxisType.Auto, AxisType.Auto))
sharding = NamedSharding(mesh, P("b"))
x, bad = (jax.device_put(np.array(v, np.float32), sharding) for v in ([2, 1], [2000, 1]))


def checked(z):
    return error_if(z, z.sum() > 1000, "too large") * 1


def by_custom_jvp(make):
    f = make(checked)
    define = f.def_jvp if make is filter_custom_jvp else f.defjvp
    define(lambda p, t, **_: (f(*p), t[0]))
    return f


def by_custom_vjp(z):
    f = jax.custom_vjp(checked)
    f.defvjp(lambda z: (checked(z), None), lambda _, ct: (ct,))
    return f(z)


def by_filter_custom_vjp(z):
    f = filter_custom_vjp(checked)
    f.def_fwd(lambda perturbed, z: (checked(z), None))
    f.def_bwd(lambda residuals, ct, perturbed, z: ct)
    return f(z)


def derivative_of_rule(z):
    # What the rule checks is part of the gradient alone.
    f = jax.custom_vjp(lambda z: z * 1)
    f.defvjp(lambda z: (z * 1, z), lambda z, ct: (checked(z) * ct / z,))
    return jax.grad(lambda z: f(z).sum())(z) * z


def by_callback(z):
    def on_host(z):
        checked(jnp.asarray(z))
        return np.asarray(z)

    return jax.pure_callback(on_host, jax.ShapeDtypeStruct(z.shape, z.dtype), z)


def by_closed_jaxpr(z):
    return jax.core.eval_jaxpr(CLOSED.jaxpr, CLOSED.consts, z)[0]


def by_custom_root(z):
    return jax.lax.custom_root(lambda y: y - z, z, lambda _, z: checked(z), lambda _, y: y)


def by_linear_call(z):
    forwards, back = lambda r, z: checked(z), lambda r, ct: ct
    return jax.custom_derivatives.linear_call(forwards, back, (), z)


def by_linear_solve(z):
    return jax.lax.custom_linear_solve(
        lambda y: 2 * y, 2 * z, lambda _, b: checked(b / 2), symmetric=True
    )


def by_shard_map(z):
    # Over what the one around it leaves.
    f = jax.shard_map(checked, in_specs=P(), out_specs=P(), axis_names={"a"}, check_vma=False)
    return f(z)


def by_scan(z):
    return jax.lax.scan(step_of_scan, z, length=2)[0]


def step_of_scan(z, _):
    return checked(z), None


def gradient(f):
    # The derivative of z * f(z) / 2 where f is the identity.
    return lambda z: jax.grad(lambda z: (z * f(z)).sum() / 2)(z)


CLOSED = jax.make_jaxpr(checked)(jnp.ones(1))  # traced outside of any shard_map
INNER = jax.jit(checked)

# The identity, and whether plain `jax.jit` has to compile it in the body itself.
WAYS = {
    "a call": (checked, True),
    "vmap": (jax.vmap(checked), True),
    "jvp": (lambda z: jax.jvp(checked, (z,), (z,))[1], True),
    "linearize": (lambda z: jax.linearize(checked, z)[0], True),
    "grad": (gradient(checked), True),
    "jaxpr": (by_closed_jaxpr, True),
    "custom_vjp in grad": (gradient(by_custom_vjp), True),
    "rule of custom_vjp": (derivative_of_rule, True),
    "filter_jit": (filter_jit(checked), True),
    "grad of filter_jit": (gradient(filter_jit(checked)), True),
    "jit": (INNER, False),
    "jit, inlined": (jax.jit(checked, inline=True), False),
    "vmap of jit": (jax.vmap(INNER), False),
    "grad of jit": (gradient(INNER), False),
    "checkpoint": (jax.checkpoint(checked), False),
    "grad of checkpoint": (gradient(jax.checkpoint(checked)), False),
    "filter_checkpoint": (filter_checkpoint(checked), False),
    "custom_jvp": (by_custom_jvp(jax.custom_jvp), False),
    "grad of custom_jvp": (gradient(by_custom_jvp(jax.custom_jvp)), False),
    "custom_vjp": (by_custom_vjp, False),
    "filter_custom_jvp": (by_custom_jvp(filter_custom_jvp), False),
    "filter_custom_vjp": (by_filter_custom_vjp, False),
    "custom_root": (by_custom_root, False),
    "scan": (by_scan, False),
    "fori_loop": (lambda z: jax.lax.fori_loop(0, 2, lambda i, c: checked(c), z), False),
    "map": (lambda z: jax.lax.map(checked, z), False),
    "linear_call": (by_linear_call, False),
    "custom_linear_solve": (by_linear_solve, False),
    "custom_linear_solve in grad": (gradient(by_linear_solve), False),
    "platform_dependent": (
        lambda z: jax.lax.platform_dependent(z, cpu=checked, default=checked),
        False,
    ),
    "shard_map": (by_shard_map, False),
    "callback": (by_callback, True),
}


def in_branch(f):
    return lambda z: jax.lax.cond(z.sum() > 1.5, f, lambda z: z * 1, z)


def in_while(f):
    # One step for the shard with 1, two for that with 2, and more than that for no shard.
    def step(carry):
        i, z = carry
        return i + 1, f(z)

    return lambda z: jax.lax.while_loop(
        lambda c: c[0] < jnp.minimum(c[1].sum(), 3), step, (0.0, z)
    )[1]


def again_in_branch(f):
    # JAX may take what it traced in the body for the branch.
    return lambda z: in_branch(f)(f(z))


PLACES = {
    "the body": lambda f: f,
    "a branch": in_branch,
    "a while loop": in_while,
    "the body, then a branch": again_in_branch,
}


# What is around the `shard_map`: the identity as well.
AROUND = {
    "jit": lambda shards: shards,
    "grad": lambda shards: gradient(shards),
    "grad of checkpoint": lambda shards: gradient(jax.checkpoint(shards)),
    "jvp": lambda shards: lambda x: jax.jvp(shards, (x,), (x,))[1],
    "vmap": lambda shards: lambda x: jax.vmap(shards)(x[None])[0],
    "scan": lambda shards: lambda x: jax.lax.scan(lambda c, _: (shards(c), None), x, length=2)[0],
}


def outcome(function, around, axes=("a", "b")):
    """Whether it was compiled: then it gives the identity, and raises for what is too large."""
    in_shards = functools.partial(jax.shard_map, mesh=mesh, in_specs=P("b"), out_specs=P("b"))
    g = jit(around(in_shards(function, axis_names=set(axes), check_vma=False)))
    try:
        found = np.asarray(g(x))
    except NotImplementedError as error:
        assert "Use `filter_jit`" in str(error), error
        return "refused"
    np.testing.assert_array_equal(found, x)
    try:
        jax.block_until_ready(g(bad))
    except (EquinoxRuntimeError, jax.errors.JaxRuntimeError) as error:
        assert "too large" in str(error), error
        return "right"
    raise AssertionError("nothing was raised")


def row(name, told, *arguments):
    """One row; `told` says that it may not be refused."""
    print(name, end=": ", flush=True)
    try:
        found = outcome(*arguments)
    except Exception as error:
        found = f"{type(error).__name__} {error}"
    expected = found == "right" or (found == "refused" and not told)
    print(found if expected else f"WRONG {found}")


carried = jit is filter_jit
if carried:  # what it traced before makes no difference, so one call of each is enough
    PLACES = {place: PLACES[place] for place in ("a while loop", "the body, then a branch")}
for name, around in AROUND.items():
    row(f"{name} around the body", True, checked, around)
    row(f"{name} around a branch", carried, in_branch(checked), around)
for way, (function, at_once) in WAYS.items():
    axes = ("b",) if way == "shard_map" else ("a", "b")
    for place, put in PLACES.items():
        told = carried or (at_once and place == "the body")
        row(f"{way} in {place}", told, put(function), AROUND["jit"], axes)
print("done")
