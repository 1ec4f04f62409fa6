"""Identities that forbid a transformation, so that its misuse is told where it happens."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.predicates import is_array, is_inexact_array
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import is_zero, zero_tangent
from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._tracing.finalise import register_impl_finalisation
from filtered_transforms._types import T
from tree_surgery.extend import public

from .identity import identity
from .raise_hook import raise_if


def _each(x: Any, function: Any, is_meant: Any) -> Any:
    return jtu.tree_map(lambda leaf: function(leaf) if is_meant(leaf) else leaf, x)


def _same(aval: Any, **_: Any) -> Any:
    return aval


# --- vmap

nonbatchable_p: Primitive = new_primitive("nonbatchable", multiple_results=False)


def _nonbatchable_batch(
    operands: Any, dims: Any, *, msg: str, allow_constant_across_batch: bool
) -> Any:
    (x,), (dim,) = operands, dims
    if not allow_constant_across_batch:
        raise ValueError(msg)
    first = jax.lax.index_in_dim(x, 0, dim, keepdims=False)
    differs = jnp.any(jnp.min(x, dim) != jnp.max(x, dim))
    x = raise_if(first, differs, msg)
    # One value for all examples; more axes of `vmap` around it are asked in their turn.
    return nonbatchable_p.bind(
        x, msg=msg, allow_constant_across_batch=allow_constant_across_batch
    ), None


set_rules(nonbatchable_p, identity, _same, batch=_nonbatchable_batch)
register_impl_finalisation(nonbatchable_p)


@public("filtered_transforms.extend")
def nonbatchable(
    x: T,
    *,
    name: str | None = None,
    msg: str | None = None,
    allow_constant_across_batch: bool = False,
) -> T:
    """The same values, which `vmap` may not batch.

    **Arguments:**

    - `x`: any PyTree; its arrays are meant.
    - `name`: what the error calls it; "This operation" without.
    - `msg`: the whole message of the error instead.
    - `allow_constant_across_batch`: whether a batch of equal values is let through, as one
        unbatched value. Of others an error is raised while the program runs.

    **Raises:** `ValueError` when the result is batched.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import nonbatchable

    try:
        jax.vmap(lambda x: nonbatchable(x, name="my_function"))(jnp.arange(3))
    except ValueError as error:
        assert "my_function cannot be vmap'd" in str(error)
    ```
    """
    if msg is None:
        if allow_constant_across_batch:
            msg = (
                f"Nonconstant batch. {name or 'This operation'} has received a batch of values "
                f"that were expected to be constant."
            )
        else:
            msg = f"Unexpected batch tracer. {name or 'This operation'} cannot be vmap'd."
        msg += " This is probably a mistake in the library that you are using."

    def bind(leaf: Any) -> Any:
        return nonbatchable_p.bind(
            leaf, msg=msg, allow_constant_across_batch=allow_constant_across_batch
        )

    return _each(x, bind, is_array)


# --- every transformation

nontraceable_p: Primitive = new_primitive("nontraceable", multiple_results=False)


def _refuse(what: str) -> Any:
    def rule(*_: Any, name: str) -> Any:
        raise RuntimeError(f"Detected {what} of {name}")

    return rule


set_rules(
    nontraceable_p,
    identity,
    _same,
    jvp=_refuse("differentiation"),
    transpose=_refuse("transposition"),
    batch=_refuse("batching"),
)
register_impl_finalisation(nontraceable_p)


@public("filtered_transforms.extend")
def nontraceable(x: T, *, name: str = "nontraceable operation") -> T:
    """The same values, which may be neither batched nor differentiated nor transposed.

    At the end of the `impl` rule of a primitive it shows that no traced value came in by closure.

    **Arguments:**

    - `x`: any PyTree; its arrays are meant.
    - `name`: what the error calls it.

    **Raises:** `RuntimeError` under a transformation other than `jit`.

    ```python
    import jax
    from filtered_transforms.extend import nontraceable

    assert jax.jit(nontraceable)(1.0) == 1.0
    ```
    """
    return _each(x, lambda leaf: nontraceable_p.bind(leaf, name=name), is_array)


# --- derivatives


@public("filtered_transforms.extend")
def nondifferentiable(x: T, *, name: str | None = None, msg: str | None = None) -> T:
    """The same values, which may not be differentiated, neither forwards nor backwards.

    **Arguments:**

    - `x`: any PyTree; its floating-point and complex arrays are meant.
    - `name`: what the error calls it; "This operation" without.
    - `msg`: the whole message of the error instead.

    **Raises:** `RuntimeError` when the result is differentiated.

    ```python
    import jax
    from filtered_transforms.extend import nondifferentiable

    try:
        jax.grad(lambda x: nondifferentiable(x, name="Rounding"))(1.0)
    except RuntimeError as error:
        assert "Rounding cannot be autodifferentiated" in str(error)
    ```
    """
    if msg is None:
        msg = f"Unexpected tangent. {name or 'This operation'} cannot be autodifferentiated."
    return _each(x, lambda leaf: _nondifferentiable_p.bind(leaf, msg=msg), is_inexact_array)


def _refuse_tangent(primals: Any, tangents: Any, *, msg: str) -> Any:
    if not is_zero(tangents[0]):
        raise RuntimeError(msg)
    return _nondifferentiable_p.bind(*primals, msg=msg), zero_tangent(primals[0])


_nondifferentiable_p: Primitive = new_primitive("nondifferentiable", multiple_results=False)
set_rules(
    _nondifferentiable_p,
    identity,
    _same,
    jvp=_refuse_tangent,
    batch=lambda operands, dims, *, msg: (
        _nondifferentiable_p.bind(*operands, msg=msg),
        dims[0],
    ),
)
register_impl_finalisation(_nondifferentiable_p)

nondifferentiable_backward_p: Primitive = new_primitive(
    "nondifferentiable_backward", multiple_results=False
)


def _pass_tangent(primals: Any, tangents: Any, **params: Any) -> Any:
    bind = nondifferentiable_backward_p.bind
    out = bind(*primals, **params)
    (tangent,) = tangents
    return out, zero_tangent(out) if is_zero(tangent) else bind(tangent, **params)


def _refuse_cotangent(cotangent: Any, x: Any, *, msg: str, symbolic: bool) -> Any:
    del x
    if is_zero(cotangent):
        return [cotangent]
    if symbolic:
        raise RuntimeError(msg)
    return [raise_if(cotangent, (cotangent != 0).any(), msg)]


set_rules(
    nondifferentiable_backward_p,
    identity,
    _same,
    jvp=_pass_tangent,
    transpose=_refuse_cotangent,
    batch=lambda operands, dims, **params: (
        nondifferentiable_backward_p.bind(*operands, **params),
        dims[0],
    ),
)
register_impl_finalisation(nondifferentiable_backward_p)


@public("filtered_transforms.extend")
def nondifferentiable_backward(
    x: T, name: str | None = None, msg: str | None = None, symbolic: bool = True
) -> T:
    """The same values, which may be differentiated forwards but not backwards.

    **Arguments:**

    - `x`: any PyTree; its floating-point and complex arrays are meant.
    - `name`: what the error calls it; "This operation" without.
    - `msg`: the whole message of the error instead.
    - `symbolic`: whether any cotangent but a symbolic zero is refused, while tracing. Otherwise it
        may be an array of zeros, and others raise while the program runs.

    **Raises:** `RuntimeError` when a cotangent comes back.

    ```python
    import jax
    from filtered_transforms.extend import nondifferentiable_backward

    assert jax.jvp(nondifferentiable_backward, (1.0,), (1.0,)) == (1.0, 1.0)
    try:
        jax.grad(nondifferentiable_backward)(1.0)
    except RuntimeError as error:
        assert "cannot be reverse-mode autodifferentiated" in str(error)
    ```
    """
    if msg is None:
        msg = (
            f"Unexpected cotangent. {name or 'This operation'} cannot be reverse-mode "
            f"autodifferentiated."
        )

    def bind(leaf: Any) -> Any:
        return nondifferentiable_backward_p.bind(leaf, msg=msg, symbolic=symbolic)

    return _each(x, bind, is_inexact_array)
