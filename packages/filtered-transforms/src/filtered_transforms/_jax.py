"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir, partial_eval

Held = tuple[tuple[int, ...], Any]  # an array: its shape and dtype

Tracer: type = jax.core.Tracer
"""The class of traced values. `jax.core.Tracer`, all JAX versions."""


def is_concrete(x: Any) -> bool:
    """Whether `x` is a value rather than a traced one."""
    return not isinstance(x, Tracer)


def program_of(traced: Any) -> Any:
    """The closed jaxpr of what `jax.jit(...).trace` returns, with all that it calls in sight.

    JAX 0.12 has primitives that hide their functions (`custom_root`), and `Traced.lojax` is the
    program without them. Before, where it is missing there is nothing to be expanded.
    """
    return getattr(traced, "lojax", traced).jaxpr


def sub_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs in the parameters of an equation, closed ones opened.

    `jaxprs_in_params`, in `jax.extend.core` since JAX 0.10, in `jax.core` before.
    """
    found = getattr(jax.extend.core, "jaxprs_in_params", None)
    return (found or jax.core.jaxprs_in_params)(params)


def evaluate(jaxpr: Any, consts: list[Any], args: list[Any]) -> list[Any]:
    """The results of a jaxpr. `jax.extend.core.jaxpr_as_fun`, all JAX versions."""
    return jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, consts))(*args)


def jitted_as(fun: Any) -> Any:
    """What a function of `jax.jit` and its copies share: how it was jitted, and which function.

    The state that `copy` is given; JAX 0.7.2 up to 0.12. The function itself where there is none.
    """
    state = fun.__getstate__()
    return state.get("cache_miss", fun) if isinstance(state, dict) else fun


def _own(jaxpr: Any) -> Any:
    """A jaxpr, closed or not, whose inputs are its arguments: `opened` may put constants first."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def used_arguments(jaxpr: Any) -> list[bool]:
    """Which arguments of a closed jaxpr its results or effects need; JAX drops the others.

    `jax.interpreters.partial_eval.dce_jaxpr`, all JAX versions.
    """
    inner, _ = opened(jaxpr)
    used = list(partial_eval.dce_jaxpr(inner, [True] * len(inner.outvars))[1])
    return used[len(used) - len(_own(jaxpr).invars) :]


def ends_on_a_device(jaxpr: Any) -> tuple[list[Held], list[Held]]:
    """What a device holds of each argument of a closed jaxpr, and of each result.

    As far as types say so, which is on meshes of explicit axes. `aval.sharding`, all JAX versions.
    """
    inner = _own(jaxpr)
    arguments, results = (
        [(v.aval.sharding.shard_shape(v.aval.shape), v.aval.dtype) for v in variables]
        for variables in (inner.invars, inner.outvars)
    )
    return arguments, results


# --- primitives: for the toolkit in `extend`. `jax.interpreters`, all JAX versions.

Primitive = jax.extend.core.Primitive
ClosedJaxpr = jax.extend.core.ClosedJaxpr
Jaxpr = jax.extend.core.Jaxpr
ShapedArray = jax.core.ShapedArray
Zero = ad.Zero
UndefinedPrimal = ad.UndefinedPrimal


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent is a symbolic zero."""
    return isinstance(tangent, ad.Zero)


def is_undefined(x: Any) -> bool:
    """Whether `x` stands for the linear argument of a transpose rule."""
    return isinstance(x, ad.UndefinedPrimal)


def zero_tangent(x: Any) -> Any:
    """The symbolic zero among the tangents of an array, or of its shape and dtype."""
    aval = x if isinstance(x, ShapedArray) else jax.typeof(x)
    return ad.Zero(aval.to_tangent_aval())


def shaped_array(x: Any) -> Any:
    """The abstract value of an array, or of a `jax.ShapeDtypeStruct`."""
    if isinstance(x, ShapedArray):
        return x
    if isinstance(x, jax.ShapeDtypeStruct):
        return ShapedArray(x.shape, x.dtype, weak_type=getattr(x, "weak_type", False))
    return jax.typeof(x)


_ARRAYS = (
    jax.Array,
    jax.core.Tracer,
    np.ndarray,
    np.generic,
    jax.core.ShapedArray,
    ad.Zero,
    ad.UndefinedPrimal,
)


def as_array(x: Any) -> Any:
    """What JAX hands to a rule for an array, as one.

    A constant comes as a number: Python's, or since JAX 0.9 of a subclass that knows its dtype;
    before, also as a class of JAX's own. Taken for what it looks like, it would be static.
    """
    return x if isinstance(x, _ARRAYS) else jnp.asarray(x)


def as_arrays(xs: Iterable[Any]) -> list[Any]:
    """The same for several."""
    return list(map(as_array, xs))


def new_primitive(name: str, multiple_results: bool) -> Primitive:
    """A primitive without rules."""
    primitive = jax.extend.core.Primitive(name)
    primitive.multiple_results = multiple_results
    return primitive


def set_rules(
    primitive: Any,
    impl: Callable[..., Any] | None = None,
    shapes: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    is_kept: bool = False,
) -> None:
    """Gives a primitive its rules. What `impl` does is what it is lowered to.

    `shapes(*avals, **params)`; `jvp(primals, tangents, **params)`;
    `transpose(cotangents, *operands, **params)`; `batch(operands, dims, **params)`. Constants among
    operands come to them as arrays. `is_kept`: it is never left out of a program, even if nobody
    needs what it returns.
    """
    several = primitive.multiple_results
    if impl is not None:
        primitive.def_impl(lambda *xs, **ps: impl(*as_arrays(xs), **ps))
        lower = mlir.lower_fun(impl, multiple_results=primitive.multiple_results)
        mlir.register_lowering(primitive, lower)
    if shapes is not None:
        if is_kept:
            effects = {debug_effect()}
            primitive.def_effectful_abstract_eval(lambda *xs, **ps: (shapes(*xs, **ps), effects))
        else:
            primitive.def_abstract_eval(shapes)
    if jvp is not None:
        ad.primitive_jvps[primitive] = lambda xs, ts, **ps: jvp(as_arrays(xs), as_arrays(ts), **ps)
    if transpose is not None:
        ad.primitive_transposes[primitive] = lambda cts, *xs, **ps: transpose(
            as_arrays(cts) if several else as_array(cts), *as_arrays(xs), **ps
        )
    if batch is not None:
        batching.primitive_batchers[primitive] = lambda xs, dims, **ps: batch(
            as_arrays(xs), dims, **ps
        )


@functools.cache
def debug_effect() -> Any:
    """The effect of `jax.debug.callback`: no order, allowed everywhere, never left out. All JAX."""
    (effect,) = jax.make_jaxpr(lambda: jax.debug.callback(_nothing))().effects
    return effect


def _nothing() -> None:
    pass


def rules_of(primitive: Any) -> tuple[Any, Any, Any]:
    """How a primitive is evaluated, differentiated and transposed, by the rules that it has."""
    return primitive.impl, ad.primitive_jvps.get(primitive), ad.primitive_transposes.get(primitive)


# --- jaxprs as data


def is_jaxpr(value: Any) -> bool:
    """Whether a parameter of an equation is a jaxpr, closed or not."""
    return isinstance(value, (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr))


def opened(jaxpr: Any) -> tuple[Any, list[Any]]:
    """A jaxpr, closed or not, as one that holds no constants, and its constants.

    They are one object since JAX 0.12; taken apart, the variables of the constants are inputs.
    """
    inner, consts = _own(jaxpr), list(getattr(jaxpr, "consts", ()))
    if consts and inner is jaxpr:
        inner = jaxpr.replace(consts=[])
    return inner, consts


def traced_anew(jaxpr: Any, run: Callable[..., list[Any]]) -> Any:
    """`run(jaxpr, consts, *args)`, traced for the arguments of `jaxpr`; closed as that is."""
    inner, consts = opened(jaxpr)
    args = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type)
            for v in _own(jaxpr).invars]  # fmt: skip
    made = jax.make_jaxpr(lambda *args: run(inner, consts, *args))(*args)
    if isinstance(jaxpr, jax.extend.core.ClosedJaxpr):
        return made
    assert not made.consts, "a jaxpr without constants cannot get any"
    return made.jaxpr


def interpret(
    jaxpr: Any,
    consts: Any,
    args: Any,
    rule: Callable[[Any, list[Any], Callable[[dict[str, Any]], Any]], Any],
    renews: Callable[[Any], bool] = lambda eqn: False,
) -> list[Any]:
    """The results of a jaxpr, each equation by `rule(eqn, operands, bind)`.

    `bind(params)` is what JAX would do, with these parameters. From an equation on that `renews`,
    its last result stands for its first operand.
    """
    env: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jax.extend.core.Literal) else env[atom]

    inputs = [*jaxpr.constvars, *jaxpr.invars]
    env.update(zip(inputs, [*consts, *args], strict=True))
    for eqn in jaxpr.eqns:
        operands = [read(atom) for atom in eqn.invars]

        def bind(params: dict[str, Any], eqn: Any = eqn, operands: Any = operands) -> Any:
            found = eqn.primitive.get_bind_params(params)  # a pair up to JAX 0.9
            functions, params = ((), found) if isinstance(found, dict) else found
            return eqn.primitive.bind(*functions, *operands, **params)

        out = rule(eqn, operands, bind)
        env.update(zip(eqn.outvars, out if eqn.primitive.multiple_results else [out], strict=True))
        if renews(eqn):
            env[eqn.invars[0]] = out[-1]
    return [read(atom) for atom in jaxpr.outvars]
