"""What of a loop depends on what is differentiated: nothing else is given a derivative.

Activity analysis, by JAX's own symbolic zeros, to a fixed point over the carry. It must be exact in
one direction: what depends on a perturbed input, in any step, must be marked, else its derivative
is lost. What is marked beyond that costs time, and differentiates what is `nondifferentiable`.
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
    """Which arrays of a loop, and of what each step takes and returns, have a derivative."""

    consts: Mask
    carry: Mask
    buffers: Mask
    xs: Mask
    ys: Mask


class DifferentiableStep:
    """A step as a function of the arrays in it that have a derivative, and of no others."""

    def __init__(self, step: Callable[..., Stepped], perturbed: Perturbed):
        self._step = step
        self._masks = perturbed

    def at(
        self, consts: Arrays, carry: Arrays, buffers: Arrays, xs: Arrays, pred: Any
    ) -> tuple[Callable[..., Any], tuple[Arrays, ...]]:
        """The function, and the arrays at which it is to be differentiated.

        It returns what has a derivative (of the carry, of the buffers, of `ys`), and the rest of
        the carry.
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
        """The carry, from what in it has a derivative and what has none."""
        return merge(list(self._masks.carry), active, inactive)

    def push(
        self, consts: Arrays, carry: Arrays, buffers: Arrays, pred: Any, tangents: Any
    ) -> tuple[Arrays, tuple[Arrays, Arrays]]:
        """The next carry, and the tangents of it and of the buffers.

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
    """Whether an array, possibly abstract, or a number has a tangent of its own type."""
    # Not `is_inexact_array`, which takes no abstract value and no number.
    dtype = getattr(x, "dtype", None)  # what a program returns may be a number that it holds
    return jnp.issubdtype(jnp.result_type(x) if dtype is None else dtype, jnp.inexact)


def nonzero(groups: Any, tangents: Any) -> Any:
    """Which arrays of each group have a tangent that JAX does not know to be zero."""
    return tuple(
        tuple(
            is_inexact(x) and not isinstance(t, SymbolicZero) for x, t in zip(xs, ts, strict=True)
        )
        for xs, ts in zip(groups, tangents, strict=True)
    )


def spread(values: Arrays, mask: Mask, like: Arrays) -> Arrays:
    """The values where `mask` is true, elsewhere a tangent that JAX knows to be zero."""
    remaining = iter(values)
    return [
        next(remaining) if here else SymbolicZero(jax.typeof(x).to_tangent_aval())
        for here, x in zip(mask, like, strict=False)
    ]


def with_tangents_of(given: Any, out: Any, find: Callable[[Any], tuple[Mask, ...]]) -> Any:
    """`out`, in which only what depends on what is perturbed in `given` has a tangent.

    To JAX, all that a function with a rule for reverse mode returns has one if anything that it
    was given has. `find` says what does, from which arrays of each group of `given` have one.
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
    """What depends, in any step, on what is perturbed at the start.

    **Arguments:**

    - `step`: of a `TracedLoop`.
    - `arrays`: `consts`, `carry`, `buffers`, and what a step is given of `xs`.
    - `start`: which of them are perturbed, numbers without a derivative excepted.
    """
    consts, carry, buffers, xs = start
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
    """The identity; sets the flag when it is differentiated."""

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
