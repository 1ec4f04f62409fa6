"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.interpreters import ad, batching, mlir, partial_eval

Tracer: type = jax.core.Tracer
"""The class of traced values. All JAX versions."""


# It moved to `jax.extend.core` after JAX 0.7.2, which has it in `jax.core`.
_core: Any = jax.extend.core if hasattr(jax.extend.core, "take_current_trace") else jax.core


def abstract(x: Any) -> Any:
    """Shape, dtype and the rest of what is known of `x` while tracing. `jax.typeof`, all JAX."""
    return jax.typeof(x)


@functools.cache
def debug_effect() -> Any:
    """The effect of `jax.debug.callback`: no order, allowed everywhere, never left out. All JAX."""
    (effect,) = jax.make_jaxpr(lambda: jax.debug.callback(_nothing))().effects
    return effect


def _nothing() -> None:
    pass


class _PrimitiveInShards(jax.extend.core.Primitive):
    """A primitive with a parameter `together`, found anew in each trace in which it is bound.

    Whether the body of a `shard_map` itself is traced, all of which every shard runs: then all
    shards come by. Anywhere else it is not known. A branch or a loop is for some shards alone; and
    JAX traces the function of a `jit`, a loop or a `checkpoint` once for all places where it is
    called, a branch among them, and that of a custom rule out of sight of what is around it.
    Traces know what they are for: all JAX versions.
    """

    def bind(self, *operands: Any, **params: Any) -> Any:
        return super().bind(*operands, **{**params, "together": _in_body_of_shard_map()})


def _in_body_of_shard_map() -> bool:
    with _core.take_current_trace() as current:
        trace: Any = current
    while trace is not None and not hasattr(trace, "frame"):  # it maps or differentiates
        trace = getattr(trace, "parent_trace", None)
    info: Any = getattr(getattr(trace, "frame", None), "debug_info", None)
    return getattr(info, "traced_for", None) == "shard_map"


def check_primitive(
    name: str,
    run: Callable[..., Any],
    program: Callable[..., Any],
    alone: Callable[..., Exception],
) -> Any:
    """A primitive `(predicate, *values, *through) -> through`; parameters `check` and `mapped`.

    Mapped, it sees the predicates (and values) of all examples at once, their axes in front, and
    `mapped` counts those axes. It is the identity to differentiation. If `check.kept`, it is never
    left out of a program, even if nobody needs what it returns.

    **Arguments:**

    - `run(check, predicate, values)`: what it does to concrete values, eagerly.
    - `program(check, devices, axes, predicate, values, through)`: what it does in a compiled
        program, as a function for JAX to trace: for so many devices, which are the axes of a mesh
        if JAX knows the program device by device (`shard_map`). Returns `through`.
    - `alone(check)`: the exception where perhaps not all shards of a `shard_map` come by.
    """
    primitive = _PrimitiveInShards(name)
    primitive.multiple_results = True

    def apart(operands: Sequence[Any], check: Any) -> tuple[Any, list[Any], list[Any]]:
        predicate, *rest = operands
        return predicate, rest[: len(check.names)], rest[len(check.names) :]

    def impl(*operands: Any, check: Any, **_: Any) -> list[Any]:
        predicate, values, through = apart(operands, check)
        run(check, predicate, values)
        return through

    def shapes(*operands: Any, check: Any, **_: Any) -> Any:
        # The effect keeps it in the program. With one, JAX also calls the program by way of Python:
        # a call of plain `jax.jit` costs 130 us, not 6; but its quick way raises a `ValueError`
        # where this one raises a `JaxRuntimeError`, and the first call always comes this way.
        return apart(operands, check)[2], {debug_effect()} if check.kept else set[Any]()

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        params["check"] = params["check"].differentiated()
        return primitive.bind(*primals, **params), apart(tangents, params["check"])[2]

    def batch(operands: Any, dims: Any, *, check: Any, mapped: int, **_: Any) -> Any:
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        predicate, values, through = apart(operands, check)
        if dims[0] is not None or any(d is not None for d in apart(dims, check)[1]):
            seen = [
                # A constant may come as a number of JAX's own, which has no shape.
                jnp.broadcast_to(x, (size, *jnp.shape(x))) if d is None else jnp.moveaxis(x, d, 0)
                for x, d in zip((predicate, *values), dims, strict=False)
            ]
            predicate, values, mapped = seen[0], seen[1:], mapped + 1
        out = primitive.bind(predicate, *values, *through, check=check, mapped=mapped)
        return out, apart(dims, check)[2]

    def lower(ctx: Any, *operands: Any, check: Any, together: bool, **_: Any) -> Any:
        devices, axes, nested = _devices_and_axes(ctx)
        if axes and devices > 1 and (nested or not together):
            raise alone(check)

        def traced(*operands: Any) -> Any:
            return program(check, devices, axes, *apart(operands, check))

        return mlir.lower_fun(traced, multiple_results=True)(ctx, *operands)

    def transpose(cotangents: Sequence[Any], *operands: Any, check: Any, **params: Any) -> Any:
        # What came through was linear, a tangent; its cotangent comes through on the way back.
        predicate, values, through = apart(operands, check)
        if any(map(ad.is_undefined_primal, (predicate, *values))):
            raise NotImplementedError(
                f"The predicate of a check, or what it shows, is computed from tangents, and so "
                f"is not known on the way back: {check.messages[0]!r}."
            )
        out: list[Any] = [None] * len(operands)
        known = [i for i, c in enumerate(cotangents) if type(c) is not ad.Zero]
        given = [cotangents[i] for i in known]
        passed = primitive.bind(
            predicate, *values, *given, check=check.differentiated(), mapped=params["mapped"]
        )
        for i, c in zip(known, passed, strict=True):
            if ad.is_undefined_primal(through[i]):
                out[1 + len(values) + i] = c
        return out

    primitive.def_impl(impl)
    primitive.def_effectful_abstract_eval(shapes)
    ad.primitive_transposes[primitive] = transpose
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, lower)
    return primitive


def _devices_and_axes(ctx: Any) -> tuple[int, tuple[str, ...], bool]:
    """For how many devices a program is lowered; the axes of the mesh, if device by device.

    And whether that is in a `shard_map` within another, which may stand in a branch there.
    """
    axis_context = ctx.module_context.axis_context
    manual = getattr(axis_context, "manual_axes", ())
    mesh = axis_context.mesh if manual else None
    if mesh is None:
        return getattr(axis_context, "num_devices", None) or 1, (), False
    axes = tuple(name for name in mesh.axis_names if name in manual)
    if len(axes) != len(mesh.axis_names):
        raise NotImplementedError(
            "A check in a `shard_map` over some of the axes of its mesh, in a program of plain "
            "`jax.jit`: JAX has no callbacks there, and without one the program cannot raise. "
            "Use `filter_jit`, under which a check is a result of the program."
        )
    return mesh.size, axes, jax.sharding.AxisType.Manual in mesh.axis_types


def callback_primitive(name: str, callback: Callable[..., Any]) -> Any:
    """A primitive `(*arrays, **params) -> bool` that calls Python while the program runs.

    Unlike `jax.pure_callback` it is never left out, and logs nothing when the callback raises: the
    exception is that of the program. All JAX versions.
    """
    primitive = jax.extend.core.Primitive(name)
    result = jax.core.ShapedArray((), bool)
    primitive.def_abstract_eval(lambda *values, **params: result)

    def lower(ctx: Any, *values: Any, **params: Any) -> Any:
        out, _, _ = mlir.emit_python_callback(
            ctx,
            lambda *values: (callback(*values, **params),),
            None,
            list(values),
            list(ctx.avals_in),
            list(ctx.avals_out),
            has_side_effect=True,
        )
        return out

    mlir.register_lowering(primitive, lower)
    return primitive


def on_each_device(function: Callable[..., Any], devices: int, *arrays: Any) -> Any:
    """`function(*arrays)` for a program of bulk semantics, called once on each of its devices.

    A callback has to be, else XLA puts it on one device and the others wait for its result.
    """
    mesh = jax.sharding.AbstractMesh(
        (devices,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,)
    )
    replicated = jax.sharding.PartitionSpec()
    return jax.shard_map(
        function, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False
    )(*arrays)


def varying(x: Any) -> Any:
    """`x`, marked as different on each shard, inside of a `shard_map` that keeps count of that.

    `jax.lax.pcast`; before JAX 0.9 `jax.lax.pvary`. Both refuse what is marked already.
    """
    lax: Any = jax.lax
    cast = getattr(lax, "pcast", None)
    for axis in jax.sharding.get_abstract_mesh().manual_axes:
        with contextlib.suppress(Exception):
            x = lax.pvary(x, axis) if cast is None else cast(x, axis, to="varying")
    return x


def is_literal(atom: Any) -> bool:
    """Whether an operand of an equation is a constant. All JAX versions."""
    return isinstance(atom, jax.extend.core.Literal)


def opened(jaxpr: Any) -> tuple[Any, list[Any]]:
    """A jaxpr, closed or not, as a jaxpr and its constants. (They are one since JAX 0.12.)"""
    return getattr(jaxpr, "jaxpr", jaxpr), list(getattr(jaxpr, "consts", ()))


def sub_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation, as they stand there. All JAX versions."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)):
                yield item


def evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The results of a jaxpr, its source lines and scopes kept. All JAX versions."""
    return jax.core.eval_jaxpr(jaxpr, consts, *args)


def excerpt(jaxpr: Any, eqns: Sequence[Any], invars: Sequence[Any], outvars: Sequence[Any]) -> Any:
    """A jaxpr of some of the equations of another. All JAX versions."""
    info = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    return jaxpr.replace(
        constvars=[], invars=list(invars), outvars=list(outvars), eqns=list(eqns), debug_info=info
    )


def scan_sizes(params: dict[str, Any]) -> tuple[int, int]:
    """How many constants and how many values in the carry a scan has. JAX 0.12 keeps trees."""
    if "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts.vals), len(carry.vals)


@functools.cache
def _unspecified() -> Any:
    (eqn,) = jax.make_jaxpr(jax.jit(lambda x: x + 1))(1.0).jaxpr.eqns
    return eqn.params["out_shardings"][0]


def bind_jit(eqn: Any, args: Sequence[Any], jaxpr: Any, more: int) -> list[Any]:
    """The equation of a jitted function, with another jaxpr that has `more` results. All JAX."""
    params = dict(eqn.params)
    params["jaxpr"] = jaxpr
    params["out_shardings"] = (*params["out_shardings"], *[_unspecified()] * more)
    params["out_layouts"] = (*params["out_layouts"], *[None] * more)
    return eqn.primitive.bind(*args, **params)


def as_function(jaxpr: Any) -> Callable[..., list[Any]]:
    """A jaxpr, closed or not, as a function of its arguments."""
    opened_jaxpr, consts = opened(jaxpr)
    return lambda *args: evaluate(opened_jaxpr, consts, args)


def avals_in(jaxpr: Any) -> list[jax.ShapeDtypeStruct]:
    """What a jaxpr takes."""
    return [var.aval for var in opened(jaxpr)[0].invars]


def scope_of(eqn: Any) -> str:
    """The named scopes in which an equation was traced, outermost first. All JAX versions."""
    return str(eqn.source_info.name_stack)


def leaves_of_specs(specs: Any) -> list[Any]:
    """The partition specs of a shard_map, one for each array."""
    return jtu.tree_leaves(specs, is_leaf=lambda x: isinstance(x, jax.sharding.PartitionSpec))


def identity_primitive(name: str, on_event: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Any:
    """The identity on arrays, as a primitive that tells what is done to it. All JAX versions.

    `on_event(event, params)` returns the parameters for the primitive after the event, one of
    `"impl"`, `"abstract"`, `"mlir"`, `"vmap"`, `"jvp_p"`, `"jvp_t"`, `"transpose"`.
    """
    primitive = jax.extend.core.Primitive(name)
    primitive.multiple_results = True

    def impl(*xs: Any, **params: Any) -> list[Any]:
        on_event("impl", params)
        return list(xs)

    def shapes(*xs: Any, **params: Any) -> list[Any]:
        on_event("abstract", params)
        return list(xs)

    def batch(xs: Sequence[Any], dims: Sequence[Any], **params: Any) -> Any:
        return primitive.bind(*xs, **on_event("vmap", params)), list(dims)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **on_event("jvp_p", params))
        known = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
        moved = list(tangents)
        if known:
            bound = primitive.bind(*[tangents[i] for i in known], **on_event("jvp_t", params))
            for i, t in zip(known, bound, strict=True):
                moved[i] = t
        return out, moved

    def transpose(cotangents: Sequence[Any], *xs: Any, **params: Any) -> list[Any]:
        linear = [ad.is_undefined_primal(x) for x in xs]
        known = [i for i, c in enumerate(cotangents) if linear[i] and type(c) is not ad.Zero]
        out: list[Any] = [c if lin else None for c, lin in zip(cotangents, linear, strict=True)]
        if known:
            bound = primitive.bind(*[cotangents[i] for i in known], **on_event("transpose", params))
            for i, c in zip(known, bound, strict=True):
                out[i] = c
        return out

    def lower(ctx: Any, *xs: Any, **params: Any) -> list[Any]:
        del ctx
        on_event("mlir", params)
        return list(xs)

    primitive.def_impl(impl)
    primitive.def_abstract_eval(shapes)
    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    mlir.register_lowering(primitive, lower)
    return primitive


def any_primitive(name: str) -> Any:
    """A primitive `array -> bool`, whether any element is true, of all mapped examples together."""
    primitive = jax.extend.core.Primitive(name)
    result = jax.core.ShapedArray((), bool)

    def batch(args: Sequence[Any], dims: Sequence[Any]) -> Any:
        del dims
        return primitive.bind(*args), None

    primitive.def_impl(jnp.any)
    primitive.def_abstract_eval(lambda x: result)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(jnp.any, multiple_results=False))
    return primitive


def without_dead_code(jaxpr: Any) -> Any:
    """A closed jaxpr without the equations that nobody needs. `dce_jaxpr`, all JAX versions."""
    opened_jaxpr, consts = opened(jaxpr)
    needed = [True] * len(opened_jaxpr.outvars)
    smaller, _ = partial_eval.dce_jaxpr(opened_jaxpr, needed, instantiate=True)
    return jax.extend.core.ClosedJaxpr(smaller, consts)


def lines_of(eqn: Any) -> list[tuple[str, int, str]]:
    """File, line and function of the Python frames that made an equation, innermost first."""
    traceback = eqn.source_info.traceback
    if traceback is None:
        return []
    return [(f.file_name, f.line_num, f.function_name) for f in traceback.frames]
