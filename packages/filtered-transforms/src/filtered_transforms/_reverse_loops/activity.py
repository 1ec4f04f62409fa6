"""Activity analysis: which arrays of a loop depend on a differentiated input.

Only these get derivatives. The analysis uses JAX's symbolic zeros and iterates over the carry to a
fixed point. Every array that depends on a perturbed input, in any step, must be marked: otherwise
its derivative is lost. Marking more costs time, and would differentiate `nondifferentiable` values.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from filtered_transforms._filters.partition import merge, split

from .traced_loop import Stepped
from .write_marks import Arrays

Mask = tuple[bool, ...]


class Perturbed(NamedTuple):
    """Which arrays of a loop, and of the inputs and outputs of each step, are perturbed."""

    consts: Mask
    carry: Mask
    buffers: Mask
    xs: Mask
    ys: Mask


class DifferentiableStep:
    """A step as a function of its perturbed arrays only; the others are constants."""

    def __init__(self, step: Callable[..., Stepped], perturbed: Perturbed):
        self._step = step
        self._masks = perturbed

    def at(
        self, consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays, pred: Any
    ) -> tuple[Callable[..., Any], tuple[Arrays, ...]]:
        """The function, and the arrays at which to differentiate it.

        The function returns the perturbed arrays of the carry, of the buffers and of `ys`, and the
        rest of the carry as auxiliary output.
        """
        every = [consts, carry, buffers, xs]
        halves = [split(x, list(m)) for x, m in zip(every, self._masks[:4], strict=True)]

        def of_perturbed(*given: Arrays) -> tuple[tuple[Arrays, Arrays, Arrays], Arrays]:
            whole = [
                merge(list(mask), new, rest)
                for mask, new, (_, rest) in zip(self._masks[:4], given, halves, strict=True)
            ]
            out = self._step(*whole, pred)
            active, inactive = split(out.carry, list(self._masks.carry))
            found = active, pick(out.buffers, self._masks.buffers), pick(out.ys, self._masks.ys)
            return found, inactive

        return of_perturbed, tuple(half[0] for half in halves)

    def carry(self, active: Arrays, inactive: Arrays) -> Arrays:
        """The carry, from its perturbed arrays and the others."""
        return merge(list(self._masks.carry), active, inactive)

    def push(
        self, consts: Arrays, carry: Arrays, buffers: Arrays, pred: Any, tangents: Any
    ) -> tuple[Arrays, tuple[Arrays, Arrays]]:
        """The next carry, and the tangents of the next carry and of the buffers.

        `tangents` are those of `consts`, `carry` and `buffers`.
        """
        step, at = self.at(consts, carry, buffers, [], pred)
        (active, _, _), out, inactive = jax.jvp(step, at, (*tangents, []), has_aux=True)
        return self.carry(active, inactive), out[:2]


def pick(values: Arrays, mask: Mask) -> Arrays:
    """The values where `mask` is true."""
    return split(values, list(mask))[0]


def padded(mask: Mask, values: Arrays) -> Mask:
    """Pad `mask` with False to the length of `values`: appended values have no tangent."""
    return mask + (False,) * (len(values) - len(mask))


def is_inexact(x: Any) -> bool:
    """Whether the tangent of `x`, a number or a possibly abstract array, has the type of `x`."""
    # Not `is_inexact_array`, which takes neither abstract values nor numbers. An output of a jaxpr
    # may be a literal.
    dtype = getattr(x, "dtype", None)
    return jnp.issubdtype(jnp.result_type(x) if dtype is None else dtype, jnp.inexact)


def nonzero(groups: Any, tangents: Any) -> Any:
    """Which arrays of each group have a tangent that is not a symbolic zero."""
    return tuple(
        tuple(
            is_inexact(x) and not isinstance(t, SymbolicZero) for x, t in zip(xs, ts, strict=True)
        )
        for xs, ts in zip(groups, tangents, strict=True)
    )


def spread(values: Arrays, mask: Mask, like: Arrays) -> Arrays:
    """The values where `mask` is true, elsewhere symbolic zero tangents."""
    remaining = iter(values)
    return [
        next(remaining) if here else SymbolicZero(jax.typeof(x).to_tangent_aval())
        for here, x in zip(mask, like, strict=False)
    ]


def with_tangents_of(given: Any, out: Any, find: Callable[[Any], tuple[Mask, ...]]) -> Any:
    """`out`, where only arrays that depend on perturbed arrays of `given` have a tangent.

    `custom_vjp` marks all outputs as perturbed if any input is. `find` maps the perturbed inputs to
    the outputs that depend on them; the others get a symbolic zero tangent.
    """

    @jax.custom_jvp
    def run(out: Any, given: Any) -> Any:
        return out

    def jvp(primals: Any, tangents: Any) -> Any:
        out, given = primals
        masks = find(nonzero(given, tangents[1]))
        kept = tuple(
            spread(pick(ts, mask), mask, xs)
            for xs, ts, mask in zip(out, tangents[0], masks, strict=True)
        )
        return run(out, given), kept

    run.defjvp(jvp, symbolic_zeros=True)
    return run(out, given)


def find_perturbed(
    step: Callable[..., Stepped],
    arrays: tuple[Arrays, Arrays, Arrays, Arrays],
    start: tuple[Mask, Mask, Mask, Mask],
) -> Perturbed:
    """Which arrays depend, in any step, on an input that is perturbed at the start.

    **Arguments:**

    - `step`: of a `TracedLoop`.
    - `arrays`: `consts`, `carry`, `buffers`, and one row of each of `xs`.
    - `start`: which of them are perturbed. Integers and booleans never are.
    """
    consts, carry, buffers, xs = start
    # The masks only grow, so this ends. One pass is not enough: an array that becomes perturbed in
    # step i may perturb another one in step i + 1.
    while True:
        new_carry, new_buffers, ys = _one_step(step, arrays, (consts, carry, buffers, xs))
        grown = tuple(a or b for a, b in zip(carry, new_carry, strict=True))
        written = tuple(a or b for a, b in zip(buffers, new_buffers, strict=True))
        if grown == carry and written == buffers:
            return Perturbed(consts, carry, buffers, xs, ys)
        carry, buffers = grown, written


def _one_step(
    step: Callable[..., Stepped],
    arrays: tuple[Arrays, Arrays, Arrays, Arrays],
    given: tuple[Mask, Mask, Mask, Mask],
) -> tuple[Mask, Mask, Mask]:
    found: Any = None

    def run(*arrays: Arrays) -> None:
        nonlocal found
        halves = [split(x, list(m)) for x, m in zip(arrays, given, strict=True)]

        # Each output passes through an identity whose rule tells whether JAX differentiates it.
        # Only the trace counts: its pullback is never called.
        def watched(*perturbed: Arrays) -> Any:
            nonlocal found
            whole = [
                merge(list(mask), new, rest)
                for mask, new, (_, rest) in zip(given, perturbed, halves, strict=True)
            ]
            out = step(*whole, jnp.array(True))
            seen = [[False] * len(group) for group in out]
            for group, flags in zip(out, seen, strict=True):
                for i, x in enumerate(group):
                    if is_inexact(x):
                        group[i] = _watch(flags, i)(x)
            found = tuple(tuple(flags) for flags in seen), seen
            return tuple(out)

        jax.vjp(watched, *[half[0] for half in halves])

    jax.eval_shape(run, *arrays)
    return tuple(tuple(flags) for flags in found[1])  # pyright: ignore[reportReturnType]


def _watch(flags: list[bool], i: int) -> Callable[[Any], Any]:
    """The identity; sets `flags[i]` if its input is perturbed."""

    @jax.custom_vjp
    def watched(x: Any) -> Any:
        return x

    def forward(x: Any) -> Any:
        flags[i] = flags[i] or x.perturbed
        return x.value, None

    def backward(_: None, ct: Any) -> Any:
        return (ct,)

    watched.defvjp(forward, backward, symbolic_zeros=True)
    return watched
