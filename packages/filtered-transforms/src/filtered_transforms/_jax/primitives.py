"""How a primitive is made, and how JAX is given its rules.

Decided here: in which table of `jax.interpreters` each rule stands, and how it is called. Seen to
work with JAX 0.7.2 to 0.12.
"""

from collections.abc import Callable
from typing import Any

from jax.interpreters import ad, batching, mlir

from .effects import debug_effect
from .jaxpr_classes import Primitive
from .operands import as_array, as_arrays


def new_primitive(name: str, multiple_results: bool) -> Primitive:
    """A primitive without rules."""
    primitive = Primitive(name)
    primitive.multiple_results = multiple_results
    return primitive


def set_rules(
    primitive: Any,
    impl: Callable[..., Any] | None = None,
    shapes: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    *,
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
