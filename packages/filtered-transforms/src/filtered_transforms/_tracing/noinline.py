"""`noinline`: a function that is compiled separately, and called by the programs that contain it.

The outer program calls back to Python, which calls the function's own program. A number among the
arguments identifies the function, so that the outer program does not depend on it. Transformations
do not trace the function either: they are recorded (`_Jvp`, `_Transpose`, `_Batch`), and applied to
the function when it is compiled.

Numbers are unique among the functions of one `abstract_fn` (`_Interface`). A function lives as long
as the result of `noinline`, and as long as a program that was traced with it. But a number is data:
a program that was traced with one function may return the number of another. So the `_MAX_IDLE`
most recently used functions are kept as well.
"""

import dataclasses
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from filtered_transforms._filters.hashable import hashable_combine, hashable_partition
from filtered_transforms._filters.output_structure import Signature, sign
from filtered_transforms._filters.partition import combine, filter, merge, split
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import (
    is_undefined,
    is_zero,
    shaped_array,
    zero_tangent,
    zeros_of,
)
from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._jax.tracers import is_concrete
from filtered_transforms._jit.bounded_table import BoundedTable
from filtered_transforms._types import Function, P, R
from pytree_module import Module, field
from tree_surgery.extend import public

from .finalise import primitive_finalisations

Flat = Callable[..., list[Any]]  # of arrays, to arrays
Shapes = tuple[jax.ShapeDtypeStruct, ...]

_MAX_PROGRAMS = 1024  # of one interface
_MAX_IDLE = 1024  # functions of one interface to which only their number may refer


class _Numbered:
    """A function without its arrays, and its number. It keeps the function alive.

    All instances are equal: it is a static field of the result of `noinline`, and no program may
    depend on the function that it was traced with. The number, which is data, distinguishes them.
    """

    __slots__ = ("__weakref__", "function", "number")

    def __init__(self, function: Any, number: int):
        self.function = function
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Numbered)

    def __hash__(self) -> int:
        return hash(_Numbered)

    def __repr__(self) -> str:
        return repr(self.function)


class _Interface:
    """What an outer program knows about a function: the structure and shapes of its results.

    It also holds the functions with this interface. Without `abstract_fn`, there is only one.
    """

    def __init__(self, abstract_fn: Callable[..., Any] | None):
        self.abstract_fn = abstract_fn
        self.programs = BoundedTable(_MAX_PROGRAMS)
        self._lock = threading.RLock()  # functions are compared, which may come back here
        self._count = 0
        self._by_value: weakref.WeakValueDictionary[Hashable, _Numbered] = (
            weakref.WeakValueDictionary()
        )
        self._by_number: weakref.WeakValueDictionary[int, _Numbered] = weakref.WeakValueDictionary()
        self._recent: OrderedDict[int, _Numbered] = OrderedDict()  # the last one used comes last

    def numbered(self, static: Hashable, function: Any) -> _Numbered:
        """The function with its number; `static` is equal for equal functions."""
        with self._lock:
            found = self._by_value.get(static)
            if found is None:
                found = _Numbered(function, self._count)
                self._count += 1
                self._by_value[static] = self._by_number[found.number] = found
            self._use(found)
            return found

    def function(self, number: Any) -> Any:
        """The function of a number.

        **Raises:** `RuntimeError` if it was freed.
        """
        with self._lock:
            found = self._by_number.get(int(number))
            if found is None:
                raise RuntimeError(
                    f"This function of `noinline` is no longer there: nothing has referred to it "
                    f"but its number, and {_MAX_IDLE} others with the same `abstract_fn` were used "
                    f"after it. Keep what `noinline` returned for as long as it is called."
                )
            self._use(found)
            return found.function

    def _use(self, numbered: _Numbered) -> None:
        self._recent[numbered.number] = numbered
        self._recent.move_to_end(numbered.number)
        if len(self._recent) > _MAX_IDLE:
            self._recent.popitem(last=False)


class _Interfaces(weakref.WeakValueDictionary[Hashable, _Interface]):
    """The `_Interface` of each `abstract_fn`, or of each function without one.

    Written and read by `noinline`. An entry lives as long as a result of `noinline` that uses it,
    and as long as a program that calls such a result.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()  # keys are compared, which may come back here

    def of(self, static: Hashable, abstract_fn: Callable[..., Any] | None) -> _Interface:
        key = (static,) if abstract_fn is None else abstract_fn
        with self._lock:
            found = self.get(key)
            if found is None:
                found = self[key] = _Interface(abstract_fn)
            return found


_INTERFACES = _Interfaces()


@dataclasses.dataclass(frozen=True)
class _Jvp:
    """Maps `f(*args)` to the tangents of its inexact results.

    They are a function of `*args`, and of the tangents of the `moving` (perturbed) arguments.
    """

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
    """Maps `f(*args)`, linear in some arguments, to the cotangents of these.

    They are a function of the other arguments, and of the cotangents of the results.
    """

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
    """Maps `f(*args)` to its `vmap`."""

    size: int
    axes: tuple[int | None, ...]

    def of(self, f: Flat) -> Flat:
        return jax.vmap(f, in_axes=self.axes, axis_size=self.size)


@dataclasses.dataclass(frozen=True)
class _Call:
    """The static part of a call: everything except its arrays and the choice of the function."""

    interface: _Interface
    rest: Any
    transforms: tuple[_Jvp | _Transpose | _Batch, ...] = ()
    # Keeps the traced function alive: its number may be a constant of the outer program.
    kept: _Numbered | None = dataclasses.field(default=None, compare=False, repr=False)

    def then(self, transform: _Jvp | _Transpose | _Batch) -> "_Call":
        return dataclasses.replace(self, transforms=(*self.transforms, transform))

    def signed(self, number: int | None) -> Callable[..., tuple[list[Any], Signature]]:
        """The function of a number, or `abstract_fn` without one, as a function of arrays.

        Jitted, so that JAX traces it once for both its shapes and its results.
        """
        interface, rest = self.interface, self.rest
        abstract_fn = interface.abstract_fn
        if abstract_fn is None:
            number = 0
        key = (rest, number)
        program = interface.programs.get(key)
        if program is not None:
            return program

        def f(*arrays: Any) -> tuple[list[Any], Signature]:
            dynamic, args, kwargs = hashable_combine(list(arrays), rest)
            if abstract_fn is not None and number is None:
                return sign(abstract_fn(dynamic, *args, **kwargs))
            return sign(combine(dynamic, interface.function(number))(*args, **kwargs))

        return interface.programs.add(key, jax.jit(f))

    def compiled(self, number: int | None) -> Flat:
        """The same with the recorded transformations; it returns arrays only."""
        if number is not None:
            self.interface.function(number)  # marks it as used
        key = (self.rest, number, self.transforms)
        program = self.interface.programs.get(key)
        if program is None:
            program = self.interface.programs.add(key, jax.jit(self.flat(number)))
        return program

    def flat(self, number: int | None) -> Flat:
        signed = self.signed(number)

        def f(*arrays: Any) -> list[Any]:
            return signed(*arrays)[0]

        for transform in self.transforms:
            f = transform.of(f)
        return f

    def results(self, arrays: Any) -> list[jax.ShapeDtypeStruct]:
        """The shapes and dtypes of the results for arrays or avals.

        Cached: it is also needed when JAX lowers a program, which would otherwise trace again.
        """
        shapes = tuple(map(_shape, arrays))
        x64 = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]
        key = (self.rest, self.transforms, shapes, x64)
        found = self.interface.programs.get(key)
        if found is None:
            found = jax.eval_shape(self.compiled(None), *shapes)
            found = self.interface.programs.add(key, found)
        return found


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _strong(x: Any) -> Any:
    # The callback passes arrays through Python, which drops weak types.
    return jax.lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x


def _inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


noinline_p: Primitive = new_primitive("noinline", multiple_results=True)


def _impl(number: Any, *arrays: Any, call: _Call) -> list[Any]:
    if all(map(is_concrete, (number, *arrays))):
        return call.compiled(int(number))(*arrays)

    def run(number: Any, *arrays: Any) -> list[Any]:
        return [np.asarray(x) for x in call.compiled(int(number))(*arrays)]

    return jax.pure_callback(run, call.results(arrays), number, *arrays, vmap_method="sequential")


def _abstract(number: Any, *avals: Any, call: _Call) -> list[Any]:
    return [shaped_array(shape) for shape in call.results(avals)]


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
    transform = _Transpose(linear, tuple(_shape(shaped_array(x)) for x in unknown))
    given = [zeros_of(ct) if is_zero(ct) else ct for ct in cotangents]
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
    """Inline the function if its number is concrete: then the program needs no Python."""
    if is_concrete(number):
        return call.flat(int(number))(*arrays)
    return _impl(number, *arrays, call=call)


primitive_finalisations[noinline_p] = _finalised


class NoInline(Module):
    """A function by number. The number is an array, so that no program depends on it."""

    __scope__ = None  # its calls are not a layer

    number: np.ndarray
    dynamic_fn: Any
    interface: _Interface = field(static=True)
    kept: _Numbered = field(static=True, repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        arrays, rest = hashable_partition((self.dynamic_fn, args, kwargs), is_array)
        call = _Call(self.interface, rest, kept=self.kept)
        _, signature = jax.eval_shape(call.signed(None), *map(_shape, arrays))
        return signature.result(noinline_p.bind(self.number, *map(_strong, arrays), call=call))

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process, other functions have these numbers.
        fn = combine(self.dynamic_fn, self.interface.function(self.number))
        return noinline, (fn, self.interface.abstract_fn)


@public("filtered_transforms.extend")
def noinline(fn: Callable[P, R], abstract_fn: Callable[..., Any] | None = None) -> Function[P, R]:
    """The function, compiled once separately, and called by each program that contains it.

    A large function that occurs several times, in one or more programs, is compiled only once. The
    price is a callback to Python whenever it runs.

    **Arguments:**

    - `fn`: any callable, itself possibly a PyTree, of any PyTrees; non-array leaves must be
        hashable.
    - `abstract_fn`: a function of `filter(fn, is_array)` and of the arguments. It returns what
        `fn` returns, with the same structure, shapes, dtypes and non-array leaves. Functions with
        the same `abstract_fn` can replace each other in a compiled program. Left out, `fn` itself
        is traced.

    **Returns:** a function, itself a PyTree. It can be differentiated in both modes, and mapped
    over. `fn` is kept as long as it, or a program that was traced with it.

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
    function = filter(fn, is_array, inverse=True)
    interface = _INTERFACES.of(static, abstract_fn)
    numbered = interface.numbered(static, function)
    number = np.array(numbered.number, np.int32)
    return NoInline(number, filter(fn, is_array), interface, numbered)
