"""Donation without warnings: a program donates only arguments whose memory a result can use.

JAX warns about a donated array that no result can use. Filtering this warning would change the
filters of the whole process, which all threads share. So such arrays are not donated: once a
function is traced, its results tell which arguments are usable.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax

from filtered_transforms._jax.jaxprs import ShapeAndDtype, ends_on_a_device
from filtered_transforms._jax.rewrite import used_arguments

from .bounded_table import BoundedTable
from .checked_program import jit_is_disabled

_MAX_SHAPES = 1024  # of one program


def usable_donations(
    given: dict[int, ShapeAndDtype], results: list[ShapeAndDtype]
) -> tuple[int, ...]:
    """Which of the arrays `given` a result can use.

    Pairs arrays and results as JAX does when it lowers a program: in order, by shape and dtype;
    from JAX 0.10.2 on (perhaps earlier) the remaining ones by size. If JAX changes these rules, a
    case of `test_all_that_jax_can_use_is_donated_and_nothing_is_said` fails (tested on 0.7.2,
    0.10.2, 0.12). This can go when `jax.jit` can donate without the warning.
    """
    rules: list[Callable[[ShapeAndDtype], Any]] = [lambda array: array]
    if jax.__version_info__ >= (0, 10, 2):
        rules.append(lambda array: math.prod(array[0]))
    paired: set[int] = set()
    for rule in rules:
        free: defaultdict[Any, list[ShapeAndDtype]] = defaultdict(list)
        for array in results:
            free[rule(array)].append(array)
        for i, array in given.items():
            if i not in paired and free[rule(array)]:
                free[rule(array)].pop()
                paired.add(i)
        results = [array for left in free.values() for array in left]
    return tuple(sorted(paired))


class _OtherDonation(Exception):
    """Raised while tracing if, for these shapes, the donatable arguments are not those that the
    program donates.

    `Donating` catches it outside of `jax.jit`. So JAX must propagate it unchanged and cache nothing
    of that trace: `test_an_error_while_tracing_comes_out_and_nothing_is_kept` (tested on 0.7.2,
    0.10.2 and 0.12). This can go together with `usable_donations`.
    """

    def __init__(self, usable: tuple[int, ...]):
        self.usable = usable


class Donating:
    """`fun(*given, kept)`, jitted; the result may use the memory of any array among `given`.

    The donatable arguments may depend on shapes. There is one program for each set of donated
    arguments, usually a single one; they share one trace of `fun`. `result_place`: the sharding of
    all results, if it is known. Arrays with this sharding are donated first: XLA would not use the
    others.
    """

    __slots__ = (
        "__name__",
        "_by_shapes",
        "_flat",
        "_options",
        "_program",
        "_programs",
        "_result_place",
    )

    def __init__(self, fun: Callable[..., Any], options: dict[str, Any], result_place: Any = None):
        self._result_place = result_place
        self.__name__ = fun.__name__
        self._flat = jax.jit(fun, inline=True)
        self._options = options
        self._programs: dict[tuple[int, ...], Any] = {}
        self._program: Any = None  # the first of them
        self._by_shapes = BoundedTable(_MAX_SHAPES)  # for shapes that need another than the first

    def __call__(self, *args: Any) -> Any:
        program = self._for(args)
        try:
            return program(*args)
        except _OtherDonation as other:
            return self._learn(args, other.usable)(*args)

    def trace(self, *args: Any) -> Any:
        """As `jax.jit(...).trace`."""
        program = self._for(args)
        try:
            return program.trace(*args)
        except _OtherDonation as other:
            return self._learn(args, other.usable).trace(*args)

    def _for(self, args: tuple[Any, ...]) -> Any:
        if self._program is None:
            if jit_is_disabled():
                return self._flat
            self._program = self._donating(self._usable(args))
        return (
            self._by_shapes.get(_shapes(args), self._program) if self._by_shapes else self._program
        )

    def _learn(self, args: tuple[Any, ...], usable: tuple[int, ...]) -> Any:
        return self._by_shapes.replace(_shapes(args), self._donating(usable))

    def _usable(self, args: tuple[Any, ...]) -> tuple[int, ...]:
        jaxpr = self._flat.trace(*args).jaxpr
        used = used_arguments(jaxpr)
        keep_unused = self._options.get("keep_unused", False)
        arguments, results = ends_on_a_device(jaxpr)
        given = arguments[: len(args) - 1]
        order = list(range(len(given)))
        if self._result_place is not None and "in_shardings" in self._options:
            places = self._options["in_shardings"]
            order.sort(key=lambda i: places[i] != self._result_place)
        return usable_donations({i: given[i] for i in order if used[i] or keep_unused}, results)

    def _donating(self, usable: tuple[int, ...]) -> Any:
        found = self._programs.get(usable)
        if found is not None:
            return found

        def flat(*args: Any) -> Any:
            if not jit_is_disabled() and (other := self._usable(args)) != usable:
                raise _OtherDonation(other)
            return self._flat(*args)

        flat.__name__ = flat.__qualname__ = self.__name__
        program = jax.jit(flat, donate_argnums=usable, **self._options)
        return self._programs.setdefault(usable, program)


def _shapes(args: tuple[Any, ...]) -> Any:
    *given, kept = args
    return tuple([(x.shape, x.dtype, getattr(x, "weak_type", False)) for x in (*given, *kept)])
