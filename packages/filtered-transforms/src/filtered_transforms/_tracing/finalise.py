"""Finalisation: replace the primitives of libraries by their implementations.

Some primitives exist only to change a transformation: to forbid it, to reduce over all examples of
a `vmap`, to have a derivative rule. Once all transformations are done, such a primitive can be
replaced by its implementation, for tools that only know JAX's own primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import jax
import jax.tree_util as jtu
from jax.typing import ArrayLike

from filtered_transforms._jax.equations import Equation
from filtered_transforms._jax.evaluate import retrace
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.jaxprs import opened
from filtered_transforms._types import P, R
from tree_surgery.extend import public

from .jaxpr_rules import WITHOUT_JVP, WITHOUT_VJP, Replacement, Replacing

if TYPE_CHECKING:
    from filtered_transforms._jax.jaxpr_classes import ClosedJaxpr, Jaxpr

primitive_finalisations: dict[Any, Callable[..., Any]] = {}
"""For each primitive that finalisation replaces, the function that replaces it."""


@public("filtered_transforms.extend")
def register_impl_finalisation(prim: Primitive) -> None:
    """Makes finalisation replace a primitive by its `impl` rule.

    **Arguments:**

    - `prim`: a `jax.extend.core.Primitive`, whose `impl` can be traced.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import (
        create_vprim, equations, filter_primitive_bind, filter_primitive_def,
        finalise_make_jaxpr, register_impl_finalisation,
    )

    @filter_primitive_def
    def double(x):
        return 2 * x

    shape = filter_primitive_def(lambda x: x)
    double_p = create_vprim("double", double, shape, None, None)
    register_impl_finalisation(double_p)
    jaxpr = finalise_make_jaxpr(lambda x: filter_primitive_bind(double_p, x))(jnp.array(1.0))
    assert [equation.name for equation in equations(jaxpr)] == ["mul"]
    ```
    """
    primitive_finalisations[prim] = lambda *args, **params: prim.impl(*args, **params)


@public("filtered_transforms.extend")
def finalise_eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: ArrayLike) -> list[Any]:
    """Evaluate a jaxpr, with its primitives finalised.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.Jaxpr`.
    - `consts`: the values of its constants.
    - `*args`: its arguments.

    **Returns:** a list of arrays.
    """
    return _interpreter.run(jaxpr, args, consts)


def _finalised(_: Any, equation: Equation, inputs: list[Any]) -> Sequence[Any]:
    out = primitive_finalisations[equation.primitive](*inputs, **equation.params)
    return out if equation.primitive.multiple_results else [out]


_FINALISED = Replacement(lambda eqn: eqn.primitive in primitive_finalisations, _finalised)
# All transformations are done: inline custom derivative rules.
_interpreter = Replacing(_FINALISED, WITHOUT_JVP, WITHOUT_VJP)


@public("filtered_transforms.extend")
def finalise_jaxpr(jaxpr: ClosedJaxpr) -> ClosedJaxpr:
    """The jaxpr, with its primitives finalised.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`.

    **Returns:** another closed jaxpr with the same arguments and results.
    """
    return retrace(jaxpr, _interpreter.run)


@public("filtered_transforms.extend")
def finalise_jaxpr_as_fn(jaxpr: ClosedJaxpr) -> Callable[..., list[Any]]:
    """A closed jaxpr as a function of its arguments that returns a list, finalised.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`.
    """
    inner, consts = opened(jaxpr)
    return lambda *args: finalise_eval_jaxpr(inner, consts, *args)


@public("filtered_transforms.extend")
def finalise_fn(fn: Callable[P, R]) -> Callable[P, R]:
    """The function, traced and evaluated with its primitives finalised.

    **Arguments:**

    - `fn`: a function of trees of arrays.

    **Returns:** a function of the same arguments.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import finalise_fn, unvmap_any

    jaxpr = jax.make_jaxpr(finalise_fn(unvmap_any))(jnp.array([True, False]))
    assert "unvmap" not in str(jaxpr)
    ```
    """

    def finalised(*args: P.args, **kwargs: P.kwargs) -> R:
        jaxpr, shapes = jax.make_jaxpr(fn, return_shape=True)(*args, **kwargs)
        leaves = jtu.tree_leaves((args, kwargs))
        out = finalise_jaxpr_as_fn(jaxpr)(*leaves)
        return jtu.tree_structure(shapes).unflatten(out)

    return finalised


@overload
def finalise_make_jaxpr(
    fn: Callable[P, Any], *, return_shape: Literal[False] = False
) -> Callable[P, ClosedJaxpr]: ...
@overload
def finalise_make_jaxpr(
    fn: Callable[P, R], *, return_shape: Literal[True]
) -> Callable[P, tuple[ClosedJaxpr, R]]: ...
@public("filtered_transforms.extend")
def finalise_make_jaxpr(fn: Callable[..., Any], *, return_shape: bool = False) -> Any:
    """As `jax.make_jaxpr`, with the primitives finalised.

    **Arguments:**

    - `fn`: a function of trees of arrays.
    - `return_shape`: return the shapes of the result as well.

    **Returns:** a function of the same arguments that returns a closed jaxpr, or a pair of that and
    the result with a `jax.ShapeDtypeStruct` for each array.
    """
    return jax.make_jaxpr(finalise_fn(fn), return_shape=return_shape)
