"""Everything that this distribution needs of JAX beyond its stable names. One function per need."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.core
import jax.extend.core
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir

Tracer: type = jax.core.Tracer
"""The class of traced values. All JAX versions."""


def identity_primitive(
    name: str,
    run: Callable[..., list[Any]],
    program: Callable[..., list[Any]],
) -> Any:
    """A primitive `(predicate, *values, **params) -> values` that looks at its predicate.

    Mapped, it sees the predicates of all examples at once, their axes in front. It is the identity
    to differentiation.

    **Arguments:**

    - `run`: what it does to concrete values, eagerly.
    - `program`: what it does in a compiled program, as a function for JAX to trace.
    """
    primitive = jax.extend.core.Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(run)
    primitive.def_abstract_eval(lambda predicate, *values, **params: list(values))

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        return primitive.bind(*primals, **params), list(tangents[1:])

    def batch(args: Sequence[Any], dims: Sequence[Any], **params: Any) -> Any:
        predicate, *values = args
        if dims[0] is not None:
            predicate = jnp.moveaxis(predicate, dims[0], 0)
        return primitive.bind(predicate, *values, **params), list(dims[1:])

    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(program, multiple_results=True))
    return primitive


def callback_primitive(name: str, callback: Callable[..., Any]) -> Any:
    """A primitive `(array, **params) -> bool` that calls Python while the program runs.

    Unlike `jax.pure_callback` it is never left out, and logs nothing when the callback raises: the
    exception is that of the program. All JAX versions.
    """
    primitive = jax.extend.core.Primitive(name)
    result = jax.core.ShapedArray((), bool)
    primitive.def_abstract_eval(lambda value, **params: result)

    def lower(ctx: Any, value: Any, **params: Any) -> Any:
        out, _, _ = mlir.emit_python_callback(
            ctx,
            lambda value: (callback(value, **params),),
            None,
            [value],
            list(ctx.avals_in),
            list(ctx.avals_out),
            has_side_effect=True,
        )
        return out

    mlir.register_lowering(primitive, lower)
    return primitive
