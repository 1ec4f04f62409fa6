"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir

from filtered_transforms.extend import Equation, debug_effect

Tracer: type = jax.core.Tracer
"""The class of traced values. All JAX versions."""


# It moved to `jax.extend.core` after JAX 0.7.2, which has it in `jax.core`.
_core: Any = jax.extend.core if hasattr(jax.extend.core, "take_current_trace") else jax.core


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


class _Operands(NamedTuple):
    """The operands of a check, or what belongs to them: tangents, axes."""

    predicate: Any
    values: list[Any]
    through: list[Any]

    @classmethod
    def of(cls, operands: Sequence[Any], check: Any) -> Self:
        predicate, *rest = operands
        count = len(check.names)
        return cls(predicate, rest[:count], rest[count:])


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
    rules = _CheckRules(_PrimitiveInShards(name), run, program, alone)
    primitive: Any = rules.primitive
    primitive.multiple_results = True
    primitive.def_impl(rules.impl)
    primitive.def_effectful_abstract_eval(rules.shapes)
    ad.primitive_jvps[primitive] = rules.jvp
    ad.primitive_transposes[primitive] = rules.transpose
    batching.primitive_batchers[primitive] = rules.batch
    mlir.register_lowering(primitive, rules.lower)
    return primitive


@dataclasses.dataclass(frozen=True)
class _CheckRules:
    """The rules of a primitive of `check_primitive`, each as JAX calls it."""

    primitive: Any
    run: Callable[..., Any]
    program: Callable[..., Any]
    alone: Callable[..., Exception]

    def impl(self, *operands: Any, check: Any, **_: Any) -> list[Any]:
        predicate, values, through = _Operands.of(operands, check)
        self.run(check, predicate, values)
        return through

    def shapes(self, *operands: Any, check: Any, **_: Any) -> Any:
        # The effect keeps it in the program. With one, JAX also calls the program by way of Python:
        # a call of plain `jax.jit` costs 130 us, not 6; but its quick way raises a `ValueError`
        # where this one raises a `JaxRuntimeError`, and the first call always comes this way.
        effects = {debug_effect()} if check.kept else set[Any]()
        return _Operands.of(operands, check).through, effects

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        params["check"] = params["check"].differentiated()
        out = self.primitive.bind(*primals, **params)
        return out, _Operands.of(tangents, params["check"]).through

    def batch(self, operands: Any, dims: Any, *, check: Any, mapped: int, **_: Any) -> Any:
        predicate, values, through = _Operands.of(operands, check)
        of_predicate, of_values, of_through = _Operands.of(dims, check)
        seen, axes = [predicate, *values], [of_predicate, *of_values]
        if any(axis is not None for axis in axes):
            size = next(x.shape[d] for x, d in zip(seen, axes, strict=True) if d is not None)
            seen = [_axis_in_front(x, d, size) for x, d in zip(seen, axes, strict=True)]
            mapped += 1
        return self.primitive.bind(*seen, *through, check=check, mapped=mapped), of_through

    def transpose(self, cotangents: Any, *operands: Any, check: Any, **params: Any) -> Any:
        # What came through was linear, a tangent; its cotangent comes through on the way back.
        predicate, values, through = _Operands.of(operands, check)
        if any(map(ad.is_undefined_primal, (predicate, *values))):
            raise NotImplementedError(
                f"The predicate of a check, or what it shows, is computed from tangents, and so "
                f"is not known on the way back: {check.messages[0]!r}."
            )
        known = [i for i, c in enumerate(cotangents) if type(c) is not ad.Zero]
        given = [cotangents[i] for i in known]
        passed = self.primitive.bind(
            predicate, *values, *given, check=check.differentiated(), mapped=params["mapped"]
        )
        out: list[Any] = [None] * len(operands)
        for i, c in zip(known, passed, strict=True):
            if ad.is_undefined_primal(through[i]):
                out[1 + len(values) + i] = c
        return out

    def lower(self, ctx: Any, *operands: Any, check: Any, together: bool, **_: Any) -> Any:
        devices, axes, nested = _devices_and_axes(ctx)
        if axes and devices > 1 and (nested or not together):
            raise self.alone(check)

        def traced(*operands: Any) -> Any:
            return self.program(check, devices, axes, *_Operands.of(operands, check))

        return mlir.lower_fun(traced, multiple_results=True)(ctx, *operands)


def _axis_in_front(x: Any, axis: int | None, size: int) -> Any:
    """`x`, mapped along its first axis; copied, if it is not mapped."""
    if axis is not None:
        return jnp.moveaxis(x, axis, 0)
    # A constant may come as a number of JAX's own, which has no shape.
    return jnp.broadcast_to(x, (size, *jnp.shape(x)))


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
    """Mark `x` as varying over all manual mesh axes of the enclosing `shard_map`s.

    By `jax.lax.pcast`, before JAX 0.9 by `jax.lax.pvary`. Both raise if `x` is varying already.
    """
    lax: Any = jax.lax
    cast = getattr(lax, "pcast", None)
    for axis in jax.sharding.get_abstract_mesh().manual_axes:
        with contextlib.suppress(Exception):
            x = lax.pvary(x, axis) if cast is None else cast(x, axis, to="varying")
    return x


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


def contracted_sizes(dot: Equation) -> list[int]:
    """The sizes of the axes that a `dot_general` sums over. All JAX versions."""
    (contracted, _), _ = dot.params["dimension_numbers"]
    return [dot.input_types[0].shape[axis] for axis in contracted]


def out_features(convolution: Equation) -> int:
    """How many features a `conv_general_dilated` makes. All JAX versions."""
    axis, *_ = convolution.params["dimension_numbers"].rhs_spec
    return convolution.input_types[1].shape[axis]
