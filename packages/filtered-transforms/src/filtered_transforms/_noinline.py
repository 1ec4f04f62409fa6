"""`noinline`: a function that is compiled on its own, and called by the programs around it.

A program calls back to Python, which calls the function's own program. Which function that is, is a
number among the arguments, so that the program around does not depend on it. Transformations do not
look into the function either: they are written down (`_Jvp`, `_Transpose`, `_Batch`), and done to
the function when it is compiled.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pytree_module import Module, field

from ._finalise import primitive_finalisations
from ._hashable import hashable_combine, hashable_partition
from ._jax import (
    Primitive,
    is_concrete,
    is_undefined,
    is_zero,
    new_primitive,
    set_rules,
    shaped_array,
    zero_tangent,
)
from ._partition import combine, filter, merge, split
from ._predicates import is_array
from ._types import Function, P, R

Flat = Callable[..., list[Any]]  # of arrays, to arrays
Shapes = tuple[jax.ShapeDtypeStruct, ...]

_NUMBERS: dict[Any, int] = {}  # by what a function is besides its arrays
_FUNCTIONS: list[Any] = []


@dataclasses.dataclass(frozen=True)
class _Jvp:
    # From `f(*args)` to the tangents of its inexact results, for `*args` and the tangents of those
    # that `moving` tells.

    moving: tuple[bool, ...]

    def of(self, f: Flat) -> Flat:
        def tangents_out(*args: Any) -> list[Any]:
            primals, given = args[: len(self.moving)], args[len(self.moving) :]
            still = split(list(primals), list(self.moving))[1]

            def of_moving(*moving: Any) -> list[Any]:
                return [x for x in f(*merge(list(self.moving), moving, still)) if _inexact(x)]

            at = tuple(split(list(primals), list(self.moving))[0])
            return jax.jvp(of_moving, at, tuple(given))[1]

        return tangents_out


@dataclasses.dataclass(frozen=True)
class _Transpose:
    # From `f(*args)`, linear in those that `linear` tells, to their cotangents, for the other
    # arguments and the cotangents of the results.

    linear: tuple[bool, ...]
    shapes: Shapes

    def of(self, f: Flat) -> Flat:
        def cotangents_in(*args: Any) -> list[Any]:
            count = len(self.linear) - sum(self.linear)
            known, cotangents = args[:count], args[count:]

            def of_linear(*linear: Any) -> list[Any]:
                return f(*merge(list(self.linear), linear, known))

            return list(jax.linear_transpose(of_linear, *self.shapes)(list(cotangents)))

        return cotangents_in


@dataclasses.dataclass(frozen=True)
class _Batch:
    size: int
    axes: tuple[int | None, ...]

    def of(self, f: Flat) -> Flat:
        return jax.vmap(f, in_axes=self.axes, axis_size=self.size)


@dataclasses.dataclass(frozen=True)
class _Call:
    # All that is known of a call without its arrays, and without which function it is.

    abstract_fn: Callable[..., Any]
    rest: Any
    transforms: tuple[_Jvp | _Transpose | _Batch, ...] = ()

    def then(self, transform: _Jvp | _Transpose | _Batch) -> "_Call":
        return dataclasses.replace(self, transforms=(*self.transforms, transform))

    def flat(self, function: Callable[..., Any] | None) -> Flat:
        """A function, or without one what says its shapes, as a function of arrays."""

        def f(*arrays: Any) -> list[Any]:
            dynamic, args, kwargs = hashable_combine(list(arrays), self.rest)
            if function is None:
                out = self.abstract_fn(dynamic, *args, **kwargs)
            else:
                out = combine(dynamic, function)(*args, **kwargs)
            return hashable_partition(out, is_array)[0]

        for transform in self.transforms:
            f = transform.of(f)
        return f


@functools.lru_cache(maxsize=1024)
def _shapes(call: _Call, shapes: Shapes) -> Shapes:
    return tuple(jax.eval_shape(call.flat(None), *shapes))


@functools.lru_cache(maxsize=1024)
def _compiled(call: _Call, number: int) -> Any:
    return jax.jit(call.flat(_FUNCTIONS[number]))


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


noinline_p: Primitive = new_primitive("noinline", multiple_results=True)


def _impl(number: Any, *arrays: Any, call: _Call) -> list[Any]:
    if all(map(is_concrete, (number, *arrays))):
        return _compiled(call, int(number))(*arrays)

    def run(number: Any, *arrays: Any) -> list[Any]:
        return [np.asarray(x) for x in _compiled(call, int(number))(*arrays)]

    shapes = list(_shapes(call, tuple(map(_shape, arrays))))
    return jax.pure_callback(run, shapes, number, *arrays, vmap_method="sequential")


def _abstract(number: Any, *avals: Any, call: _Call) -> list[Any]:
    return [shaped_array(shape) for shape in _shapes(call, tuple(map(_shape, avals)))]


def _jvp(primals: Any, tangents: Any, *, call: _Call) -> Any:
    number, *arrays = primals
    out = noinline_p.bind(number, *arrays, call=call)
    moving = tuple(not is_zero(tangent) for tangent in tangents[1:])
    if not any(moving):
        return out, [zero_tangent(x) for x in out]
    given = split(list(tangents[1:]), list(moving))[0]
    found = iter(noinline_p.bind(number, *arrays, *given, call=call.then(_Jvp(moving))))
    return out, [next(found) if _inexact(x) else zero_tangent(x) for x in out]


def _transpose(cotangents: Any, number: Any, *arrays: Any, call: _Call) -> list[Any]:
    linear = tuple(map(is_undefined, arrays))
    unknown, known = split(list(arrays), list(linear))
    transform = _Transpose(linear, tuple(_shape(x.aval) for x in unknown))
    given = [jnp.zeros(ct.aval.shape, ct.aval.dtype) if is_zero(ct) else ct for ct in cotangents]
    found = noinline_p.bind(number, *known, *given, call=call.then(transform))
    return [None, *merge(list(linear), found, [None] * len(known))]


def _batch(operands: Any, dims: Any, *, call: _Call) -> Any:
    if dims[0] is not None:
        raise ValueError("`noinline` functions cannot be mapped over: there is one for all.")
    size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    out = noinline_p.bind(*operands, call=call.then(_Batch(size, tuple(dims[1:]))))
    return out, [0] * len(out)


set_rules(noinline_p, _impl, _abstract, _jvp, _transpose, _batch)


def _finalised(number: Any, *arrays: Any, call: _Call) -> list[Any]:
    """The function itself, where it is known which: it may then go where Python cannot."""
    if is_concrete(number):
        return call.flat(_FUNCTIONS[int(number)])(*arrays)
    return _impl(number, *arrays, call=call)


primitive_finalisations[noinline_p] = _finalised


@dataclasses.dataclass(frozen=True)
class _ShapesOf:
    # The shapes of a function are found by tracing it.

    number: int

    def __call__(self, dynamic: Any, *args: Any, **kwargs: Any) -> Any:
        return combine(dynamic, _FUNCTIONS[self.number])(*args, **kwargs)


class NoInline(Module):
    # A function by number. The number is an array, so that no program depends on it.

    __scope__ = None  # its calls are no layer

    number: np.ndarray
    dynamic_fn: Any
    abstract_fn: Callable[..., Any] = field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        arrays, rest = hashable_partition((self.dynamic_fn, args, kwargs), is_array)
        call = _Call(self.abstract_fn, rest)
        found: Any = None

        def shapes(*arrays: Any) -> list[Any]:
            nonlocal found
            dynamic, args, kwargs = hashable_combine(list(arrays), rest)
            out, found = hashable_partition(self.abstract_fn(dynamic, *args, **kwargs), is_array)
            return out

        jax.eval_shape(shapes, *arrays)
        return hashable_combine(noinline_p.bind(self.number, *arrays, call=call), found)


def noinline(fn: Callable[P, R], abstract_fn: Callable[..., Any] | None = None) -> Function[P, R]:
    """The function, compiled once on its own, and called by each program in which it stands.

    A large function that stands in a program several times, or in several programs, is compiled a
    single time, at the price of a call back to Python whenever it runs.

    **Arguments:**

    - `fn`: any callable, itself possibly a PyTree, of any PyTrees; what is no array must have a
        hash. Functions are kept for good: give a name to a `lambda` that is made again and again.
    - `abstract_fn`: a function of `filter(fn, is_array)` and of the arguments, that returns what
        `fn` returns, as far as structure, shapes, dtypes and other values go. Functions with the
        same one can take each other's place in a program that is compiled already. Without, `fn`
        itself is traced for it.

    **Returns:** a function, itself a PyTree. It can be differentiated in both modes, and mapped
    over.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import noinline

    traced = []

    @noinline
    def f(x, y):
        traced.append("f")
        return x * y

    @jax.jit
    def g(x):
        return f(x, jnp.array(2.0)) + f(x, jnp.array(3.0)) + f(x, x)

    assert g(jnp.array(1.0)) == 6.0
    ```
    """
    static = hashable_partition(fn, is_array)[1]
    number = _NUMBERS.get(static)
    if number is None:
        _FUNCTIONS.append(filter(fn, is_array, inverse=True))
        number = _NUMBERS.setdefault(static, len(_FUNCTIONS) - 1)
    shapes = _ShapesOf(number) if abstract_fn is None else abstract_fn
    return NoInline(np.array(number, np.int32), filter(fn, is_array), shapes)
