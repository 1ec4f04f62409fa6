"""`create_vprim`: a primitive with a rule for `vmap` that follows from its other rules."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from filtered_transforms._filters.partition import merge, split
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import (
    ShapedArray,
    is_undefined,
    is_zero,
    shaped_array,
    undefined,
    zero_cotangent,
    zero_tangent,
    zeros_of,
)
from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._tracing.finalise import primitive_finalisations
from tree_surgery.extend import public

VPrimRule = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class _Level:
    """One `vmap`: its size, and for each operand the axis that it maps over."""

    size: int
    axes: tuple[int | None, ...]

    def without(self, avals: Sequence[Any]) -> list[Any]:
        """Avals of the operands outside of this `vmap`, as they are within."""
        return [
            aval if axis is None else _resized(aval, _drop(aval.shape, axis))
            for aval, axis in zip(avals, self.axes, strict=True)
        ]


def _drop(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _resized(aval: Any, shape: tuple[int, ...]) -> Any:
    return ShapedArray(shape, aval.dtype, weak_type=aval.weak_type)


def _inner(avals: Sequence[Any], levels: Sequence[_Level]) -> list[Any]:
    """Avals of the operands within all levels; the last is the outermost."""
    avals = list(avals)
    for level in reversed(levels):
        avals = level.without(avals)
    return avals


@public("filtered_transforms.extend")
def create_vprim(
    name: str,
    impl: VPrimRule,
    abstract_eval: VPrimRule,
    jvp: VPrimRule | None,
    transpose: VPrimRule | None,
) -> Primitive:
    """A primitive with these rules, and with one for `vmap` that maps each of them.

    **Arguments:**

    - `name`: its name in jaxprs.
    - `impl`, `abstract_eval`: on flat arrays, as `filter_primitive_def` makes them of rules on
        trees. `impl` must be traceable: it is also what the primitive is lowered to.
    - `jvp`, `transpose`: as `filter_primitive_jvp` and `filter_primitive_transpose` make them;
        `None` where the primitive cannot be differentiated, or is not linear.

    **Returns:** a `jax.extend.core.Primitive` with `multiple_results`, to be called by
    `filter_primitive_bind`.

    The example is that of `filter_primitive_bind`.
    """
    primitive = new_primitive(name, multiple_results=True)
    mapped = new_primitive(f"vmap_{name}", multiple_results=True)

    def map_once(operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> Any:
        return map_again(operands, dims, levels=(), **params)

    def map_again(operands: Any, dims: Any, *, levels: tuple[_Level, ...], **params: Any) -> Any:
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
        out = mapped.bind(*operands, levels=(*levels, _Level(size, tuple(dims))), **params)
        return out, [0] * len(out)

    set_rules(primitive, impl, abstract_eval, jvp, transpose, map_once)
    set_rules(
        mapped,
        _mapped_impl(impl),
        _mapped_shapes(abstract_eval),
        None if jvp is None else _mapped_jvp(jvp),
        None if transpose is None else _mapped_transpose(transpose),
        map_again,
    )
    primitive_finalisations[mapped] = _mapped_impl(impl)
    return primitive


def _mapped_impl(impl: VPrimRule) -> VPrimRule:
    def run(*operands: Any, levels: tuple[_Level, ...], **params: Any) -> Any:
        def one(*operands: Any) -> Any:
            return impl(*operands, **params)

        for level in levels:
            one = jax.vmap(one, in_axes=level.axes, axis_size=level.size)
        return one(*operands)

    return run


def _mapped_shapes(abstract_eval: VPrimRule) -> VPrimRule:
    def shapes(*avals: Any, levels: tuple[_Level, ...], **params: Any) -> list[Any]:
        sizes = tuple(level.size for level in reversed(levels))
        found = abstract_eval(*_inner(avals, levels), **params)
        return [_resized(aval, (*sizes, *aval.shape)) for aval in found]

    return shapes


def _mapped_jvp(jvp: VPrimRule) -> VPrimRule:
    def rule(
        primals: Any, tangents: Any, *, levels: tuple[_Level, ...], **params: Any
    ) -> tuple[list[Any], list[Any]]:
        moving = [not is_zero(tangent) for tangent in tangents]
        # Found by the innermost trace: which tangents of the results are no symbolic zeros. Those
        # cannot go through `jax.vmap`, so that they are left out there and put back below.
        changes: list[bool] = []

        def one(primals: Sequence[Any], given: Sequence[Any]) -> Any:
            still = [zero_tangent(x) for x, moves in zip(primals, moving, strict=True) if not moves]
            out, slopes = jvp(list(primals), merge(moving, given, still), **params)
            changes[:] = [not is_zero(slope) for slope in slopes]
            return list(out), split(list(slopes), changes)[0]

        for level in levels:
            given_axes = tuple(split(list(level.axes), moving)[0])
            one = jax.vmap(one, in_axes=(level.axes, given_axes), axis_size=level.size)
        out, given = one(tuple(primals), tuple(split(list(tangents), moving)[0]))
        zeros = [zero_tangent(x) for x, changed in zip(out, changes, strict=True) if not changed]
        return out, merge(changes, given, zeros)

    return rule


def _mapped_transpose(transpose: VPrimRule) -> VPrimRule:
    def rule(
        cotangents: Any, *operands: Any, levels: tuple[_Level, ...], **params: Any
    ) -> list[Any]:
        linear = [is_undefined(x) for x in operands]
        unknown, known = split(list(operands), linear)
        zero = [is_zero(ct) for ct in cotangents]
        zeros, given = split(list(cotangents), zero)
        zeros = [
            zero_cotangent(_resized(aval, aval.shape[len(levels) :]))
            for aval in map(shaped_array, zeros)
        ]  # without the axes of all levels, which come first
        avals = list(map(shaped_array, operands))
        inside = [aval for aval, here in zip(_inner(avals, levels), linear, strict=True) if here]

        def one(known: Sequence[Any], given: Sequence[Any]) -> list[Any]:
            filled = merge(linear, list(map(undefined, inside)), list(known))
            found = transpose(merge(zero, zeros, list(given)), *filled, **params)
            return [
                zeros_of(aval) if ct is None or is_zero(ct) else ct
                for aval, ct in zip(inside, split(list(found), linear)[0], strict=True)
            ]

        # Levels are applied from the innermost `vmap` to the outermost.
        for level in levels:
            one = _transposed_level(one, level, linear)
        found = one(tuple(known), tuple(given))
        return merge(linear, found, [None] * (len(operands) - len(unknown)))

    return rule


def _transposed_level(one: VPrimRule, level: _Level, linear: list[bool]) -> VPrimRule:
    """`vmap` a transpose rule over one level. The cotangent of an unbatched operand is summed over
    the batch."""
    axes, known_axes = split(list(level.axes), linear)

    def mapped(known: Any, given: Any) -> list[Any]:
        found = jax.vmap(
            one,
            in_axes=(tuple(known_axes), 0),
            out_axes=[0 if axis is None else axis for axis in axes],
            axis_size=level.size,
        )(known, given)
        return [ct.sum(0) if axis is None else ct for ct, axis in zip(found, axes, strict=True)]

    return mapped
