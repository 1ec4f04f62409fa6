"""`select_if_vmap_p`: a choice that need not be made unless `vmap` asks for it."""

from typing import Any

import jax.numpy as jnp

from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import is_undefined, is_zero, zero_tangent
from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._tracing.finalise import register_impl_finalisation

from .identity import identity

select_if_vmap_p: Primitive = new_primitive("select_if_vmap", multiple_results=False)
"""`(pred, x, y)` is `x` where `pred`, a boolean scalar, is not batched; under a `vmap` of `pred` it
is `x` for the examples of which `pred` is true, and `y` for the others.

For the body of a loop that runs as long as `pred` holds: one example that runs has no choice, and
pays for none; of several, those that have stopped keep their `y`.
"""


def _batch(operands: Any, dims: Any) -> Any:
    pred, x, y = operands
    size = next(a.shape[d] for a, d in zip(operands, dims, strict=True) if d is not None)
    x, y = (
        jnp.broadcast_to(a, (size, *a.shape)) if d is None else jnp.moveaxis(a, d, 0)
        for a, d in zip((x, y), dims[1:], strict=True)
    )
    if dims[0] is None:
        return select_if_vmap_p.bind(pred, x, y), 0
    pred = jnp.moveaxis(pred, dims[0], 0).reshape(size, *[1] * (x.ndim - 1))
    return jnp.where(pred, x, y), 0


def _jvp(primals: Any, tangents: Any) -> Any:
    pred, x, y = primals
    out = select_if_vmap_p.bind(pred, x, y)
    _, t_x, t_y = tangents
    if is_zero(t_x) and is_zero(t_y):
        return out, zero_tangent(out)
    t_x, t_y = (jnp.zeros_like(x) if is_zero(t) else t for t in (t_x, t_y))
    return out, select_if_vmap_p.bind(pred, t_x, t_y)


def _transpose(ct: Any, pred: Any, x: Any, y: Any) -> list[Any]:
    if is_zero(ct):
        return [None, *(ct if is_undefined(a) else None for a in (x, y))]
    zero = jnp.zeros_like(ct)
    return [
        None,
        select_if_vmap_p.bind(pred, ct, zero) if is_undefined(x) else None,
        # Nothing of `y` without a `vmap`; that is found by the same rule.
        select_if_vmap_p.bind(pred, zero, ct) if is_undefined(y) else None,
    ]


set_rules(
    select_if_vmap_p,
    lambda pred, x, y: identity(x),
    lambda pred, x, y: x,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
)
register_impl_finalisation(select_if_vmap_p)
