"""Primitives whose arguments and results are any PyTrees: rules written for trees, not for lists.

`filter_primitive_bind` takes the arguments apart into arrays, which JAX traces, and a hashable
rest, the parameter `static`. The functions that wrap rules put them together again. What a result
holds besides arrays is known when the first rule has run; it is kept in the parameter `out`, one
for equal calls, and read by `filter_primitive_bind` when JAX returns.
"""

import functools
from collections.abc import Callable
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from filtered_transforms._filters.hashable import hashable_combine, hashable_partition
from filtered_transforms._filters.partition import merge
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import (
    ShapedArray,
    as_array,
    as_arrays,
    is_undefined,
    is_zero,
    shaped_array,
    zero_cotangent,
    zero_tangent,
    zeros_of,
)
from filtered_transforms._types import PyTree
from tree_surgery.extend import public

PrimitiveRule = Callable[..., Any]


class _Out:
    """The static part of the result of calls that are equal but for the values of arrays."""

    __slots__ = ("rest",)
    rest: tuple[Any, ...]

    def keep(self, result: Any) -> list[Any]:
        """The arrays of a result; its rest is kept."""
        arrays, self.rest = hashable_partition(result, _is_array_or_shape)
        return arrays


# Equal calls share one `_Out`, since it is a parameter of the equation: with another one each time,
# JAX would find none of the programs that it has compiled for such a call.
@functools.lru_cache(maxsize=4096)
def _out_of(prim: Any, static: Any, types: tuple[Any, ...]) -> _Out:
    return _Out()


def _is_array_or_shape(x: Any) -> bool:
    return is_array(x) or isinstance(x, ShapedArray)


def _beside(leaves: list[Any], rest: tuple[Any, ...]) -> Any:
    """The tree of which `rest` is the rest, with `leaves` for its arrays and `None` elsewhere."""
    treedef, mask, others, _ = rest
    return treedef.unflatten(merge(list(mask), leaves, [None] * len(others)))


def _leaves_beside(tree: Any, rest: tuple[Any, ...], what: str) -> list[Any]:
    """The inverse of `_beside`.

    **Raises:** `ValueError` if `tree` has another structure.
    """
    treedef, mask, _, _ = rest
    try:
        leaves = treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(
            f"{what} must have the structure of what they belong to, with `None` for each "
            f"non-array leaf, and for each zero. {error}"
        ) from None
    return [leaf for leaf, here in zip(leaves, mask, strict=True) if here]


@public("filtered_transforms.extend")
def filter_primitive_bind(prim: Primitive, *args: PyTree) -> PyTree:
    """Calls a primitive with any PyTrees.

    **Arguments:**

    - `prim`: a primitive with `multiple_results`, whose rules are made by the other
        `filter_primitive_*` functions; by `create_vprim`, for example.
    - `*args`: any PyTrees. Arrays are traced; the rest must have a hash.

    **Returns:** what the rules return: any PyTree.

    **Raises:** `TypeError` for a non-array argument that is not hashable.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import (
        create_vprim, filter_primitive_bind, filter_primitive_def, filter_primitive_jvp,
    )

    @filter_primitive_def
    def power(x, n):
        return {"value": x**n, "n": n}

    @filter_primitive_def
    def power_shape(x, n):
        return {"value": x, "n": n}

    @filter_primitive_jvp
    def power_jvp(primals, tangents):
        (x, n), (t, _) = primals, tangents
        slope = {"value": None if t is None else n * x ** (n - 1) * t, "n": None}
        return filter_primitive_bind(power_p, x, n), slope

    power_p = create_vprim("power", power, power_shape, power_jvp, None)
    out = filter_primitive_bind(power_p, jnp.array(3.0), 2)
    assert out == {"value": 9.0, "n": 2}
    assert jax.jit(jax.grad(lambda x: filter_primitive_bind(power_p, x, 2)["value"]))(3.0) == 6.0
    ```
    """
    arrays, static = hashable_partition(args, is_array)
    try:
        out = _out_of(prim, static, tuple(map(jax.typeof, arrays)))
    except TypeError as error:
        raise TypeError(
            f"the primitive `{prim}` got a non-array argument that is not hashable: {error}."
        ) from error
    found = prim.bind(*arrays, static=static, out=out)
    # A rule has run by now, here or when an equal call was traced, and has set `out.rest`.
    return hashable_combine(found, out.rest)


@public("filtered_transforms.extend")
def filter_primitive_def(rule: PrimitiveRule) -> PrimitiveRule:
    """An `impl` or abstract-evaluation rule on trees, as JAX takes it.

    **Arguments:**

    - `rule`: called as the primitive is. For abstract evaluation there are `jax.core.ShapedArray`s
        in the place of arrays, in what it gets and in what it returns.

    **Returns:** the rule for `Primitive.def_impl` and `Primitive.def_abstract_eval`, or for
    `create_vprim`.
    """

    @functools.wraps(rule, updated=())
    def flat(*arrays: Any, static: Any, out: _Out) -> list[Any]:
        return out.keep(rule(*hashable_combine(as_arrays(arrays), static)))

    return flat


@public("filtered_transforms.extend")
def filter_primitive_jvp(rule: PrimitiveRule) -> PrimitiveRule:
    """A rule for derivatives forwards on trees, as JAX takes it.

    **Arguments:**

    - `rule`: `rule(primals, tangents) -> (out, tangent_out)`. `primals` are the arguments as a
        tuple. `tangents` is of the same structure, with `None` for each non-array leaf, and
        for each zero; and so is `tangent_out` for `out`.

    **Returns:** the rule for `jax.interpreters.ad.primitive_jvps`, or for `create_vprim`.
    """

    @functools.wraps(rule, updated=())
    def flat(primals: Any, tangents: Any, *, static: Any, out: _Out) -> Any:
        known = [None if is_zero(tangent) else as_array(tangent) for tangent in tangents]
        result, slope = rule(hashable_combine(as_arrays(primals), static), _beside(known, static))
        arrays = out.keep(result)
        slopes = _leaves_beside(slope, out.rest, "the tangents of a result")
        return arrays, [
            zero_tangent(array) if slope is None else slope
            for array, slope in zip(arrays, slopes, strict=True)
        ]

    return flat


@overload
def filter_primitive_transpose(
    *, materialise_zeros: bool = False
) -> Callable[[PrimitiveRule], PrimitiveRule]: ...
@overload
def filter_primitive_transpose(
    rule: PrimitiveRule, *, materialise_zeros: bool = False
) -> PrimitiveRule: ...
@public("filtered_transforms.extend")
def filter_primitive_transpose(rule: Any = ..., *, materialise_zeros: bool = False) -> Any:
    """A rule for the transpose of a linear primitive on trees, as JAX takes it.

    **Arguments:**

    - `rule`: `rule(inputs, cotangents) -> cotangents_in`. `inputs` are the arguments as a tuple,
        with a `jax.interpreters.ad.UndefinedPrimal` for each array that the primitive is linear in.
        `cotangents` is of the structure of the result, with `None` for each non-array leaf,
        and for each zero. `cotangents_in` is of the structure of `inputs`, with `None` for what has
        no cotangent. Left out, a decorator is returned.
    - `materialise_zeros`: give the rule arrays of zeros for cotangents that are zero.

    **Returns:** the rule for `jax.interpreters.ad.primitive_transposes`, or for `create_vprim`.
    """
    if rule is ...:
        return functools.partial(filter_primitive_transpose, materialise_zeros=materialise_zeros)

    @functools.wraps(rule, updated=())
    def flat(cotangents: Any, *inputs: Any, static: Any, out: _Out) -> list[Any]:
        known = [_cotangent(ct, materialise_zeros) for ct in cotangents]
        found = rule(hashable_combine(as_arrays(inputs), static), _beside(known, out.rest))
        leaves = _leaves_beside(found, static, "the cotangents of the arguments")
        return [
            zero_cotangent(x) if ct is None and is_undefined(x) else ct
            for x, ct in zip(inputs, leaves, strict=True)
        ]

    return flat


def _cotangent(ct: Any, materialise: bool) -> Any:
    if not is_zero(ct):
        return as_array(ct)
    if materialise and shaped_array(ct).dtype != jax.dtypes.float0:
        return zeros_of(ct)
    return None


@public("filtered_transforms.extend")
def filter_primitive_batching(rule: PrimitiveRule) -> PrimitiveRule:
    """A rule for `vmap` on trees, as JAX takes it.

    **Arguments:**

    - `rule`: `rule(inputs, axes) -> (out, out_axes)`. `inputs` are the arguments as a tuple; `axes`
        is of the same structure, with the axis that is mapped over for each array, `None` for
        none, and for each non-array leaf; and so is `out_axes` for `out`.

    **Returns:** the rule for `jax.interpreters.batching.primitive_batchers`. (A primitive of
    `create_vprim` has one.)
    """

    @functools.wraps(rule, updated=())
    def flat(operands: Any, dims: Any, *, static: Any, out: _Out) -> Any:
        inputs = hashable_combine(as_arrays(operands), static)
        result, axes = rule(inputs, _beside(list(dims), static))
        arrays = out.keep(result)
        return arrays, _leaves_beside(axes, out.rest, "the axes of a result")

    return flat


@public("filtered_transforms.extend")
def materialise_zeros(primal: PyTree, tangent: PyTree, allow_struct: bool = False) -> PyTree:
    """The tangent, or zeros in place of `None`, if the primal is a number.

    **Arguments:**

    - `primal`: a leaf.
    - `tangent`: its tangent, or `None` for zero.
    - `allow_struct`: whether a `jax.ShapeDtypeStruct` counts as an array.

    **Returns:** `tangent` if it is not `None`, else zeros of the tangent dtype of `primal` if that
    is an array or a Python number, else `None`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import materialise_zeros

    assert materialise_zeros(jnp.ones(2), None).tolist() == [0.0, 0.0]
    assert materialise_zeros("relu", None) is None
    ```
    """
    if tangent is not None:
        return tangent
    if isinstance(primal, (bool, int, float, complex)):
        return jnp.zeros_like(primal)
    if not (is_array(primal) or (allow_struct and isinstance(primal, jax.ShapeDtypeStruct))):
        return None
    if jnp.issubdtype(primal.dtype, jnp.inexact):
        return jnp.zeros_like(primal)
    return np.zeros(primal.shape, jax.dtypes.float0)
