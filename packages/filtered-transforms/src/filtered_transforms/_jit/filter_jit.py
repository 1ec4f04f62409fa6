"""`filter_jit`: arrays are traced, everything else is static."""

import threading
import weakref
from collections.abc import Callable
from itertools import compress
from typing import Any, Unpack, overload

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import Signature
from filtered_transforms._filters.predicates import all_arrays
from filtered_transforms._jax.jitted import program_of
from filtered_transforms._types import (
    Donate,
    JitDecorator,
    JitFunction,
    JitKwargs,
    P,
    PlacesSpec,
    R,
)
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import BoundMethod, field
from tree_surgery.extend import public

from .bounded_table import BoundedTable
from .by_function import IS_WEAK, ByFunction
from .check_registry import any_checks, has_checks, translated, wait
from .checked_program import jit_is_disabled
from .options import JitOptions, jit_options
from .program_cache import Programs
from .shardings import check_in_shardings
from .stages import Lowered, Traced

_flatten = jtu.tree_flatten
_ref = weakref.ref


_MAX_OPTIONS = 256


class _Registry(ByFunction[Programs]):
    """All programs for one set of options; a static field of each `JitWrapper` with them."""

    __slots__ = ("options",)

    def __init__(self, options: JitOptions):
        jax.jit(lambda: None, **options.jit_arguments())  # raises now for an unknown option
        super().__init__(lambda fun: Programs(fun, options))
        self.options = options

    def __reduce__(self) -> tuple[Any, ...]:
        return _registry, (self.options,)

    def __repr__(self) -> str:
        return repr(self.options)


class _Registries:
    """The `_Registry` of each set of options.

    Written and read when `filter_jit` wraps a function; read by `clear_caches`. The latest
    `_MAX_OPTIONS` are kept, so that each `filter_jit(f)(x)` finds the programs of `f`. Any other
    registry lives as long as a function that was wrapped with it.
    """

    __slots__ = ("_alive", "_lock", "_recent")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of `_alive`, which must not grow while it is read
        self._recent = BoundedTable(_MAX_OPTIONS)
        self._alive: weakref.WeakValueDictionary[JitOptions, _Registry] = (
            weakref.WeakValueDictionary()
        )

    def of(self, options: JitOptions) -> _Registry:
        found = self._recent.get(options)
        if found is None:
            made = _Registry(options)
            # Functions that are wrapped with the same options are equal, also after they have gone
            # through pickle: as long as one is alive, there is no other registry for its options.
            with self._lock:
                found = self._alive.setdefault(options, made)
            found = self._recent.add(options, found)
        return found

    def clear(self) -> None:
        """Drops all programs; wrapped functions keep their registries."""
        with self._lock:
            alive = list(self._alive.values())
        for registry in alive:
            registry.clear()


_REGISTRIES = _Registries()


def _registry(options: JitOptions) -> _Registry:
    return _REGISTRIES.of(options)


class JitWrapper(Wrapper):
    """A function that is compiled: what `filter_jit` returns."""

    registry: _Registry = field(static=True)

    def __init__(self, fun: Any, options: JitOptions):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.registry = _registry(options)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        fun, registry = self.fun, self.registry
        # `registry.of`, inlined. A class that is not in `IS_WEAK` takes the slow path.
        programs = registry.by_function.get(_ref(fun)) if IS_WEAK.get(fun.__class__) else None
        if programs is None:
            programs, call = self._programs(args, kwargs)
        else:
            call = (args, kwargs)
        if programs.quick is not None and not kwargs and all_arrays(args):
            return _run_quick(programs.quick, args)
        return _run(programs, call)

    def _programs(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Programs, tuple[Any, ...]]:
        """The programs of the called function, and the call in the form that they take."""
        programs = self.registry.of(self.fun)
        if programs.function is None:
            return programs, (self.fun, args, kwargs)
        return programs, (args, kwargs)

    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        """As `jax.jit(...).trace`. A `jax.ShapeDtypeStruct` stands for an array."""
        return Traced.of(*self._programs(args, kwargs))

    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """As `jax.jit(...).lower`. A `jax.ShapeDtypeStruct` stands for an array."""
        return self.trace(*args, **kwargs).lower()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else BoundJit(self, instance)

    def __repr__(self) -> str:
        return f"filter_jit({self.fun!r})"


class BoundJit(BoundMethod):
    """A jitted function of a class, read from an instance: a `BoundMethod` with its stages."""

    @property
    def _wrapper(self) -> JitWrapper:
        return self.func  # pyright: ignore[reportReturnType]  (declared a function there)

    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        return self._wrapper.trace(self.args[0], *args, **kwargs).bind(self.args[0])

    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        return self._wrapper.lower(self.args[0], *args, **kwargs).bind(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return BoundJit, (self.func, self.args[0])


jtu.register_pytree_with_keys(
    BoundJit,
    lambda bound: (
        ((jtu.GetAttrKey("__func__"), bound.func), (jtu.GetAttrKey("__self__"), bound.args[0])),
        None,
    ),
    lambda _, children: BoundJit(*children),
    lambda bound: ((bound.func, bound.args[0]), None),
)


def _run(programs: Programs, call: tuple[Any, ...]) -> Any:
    leaves, treedef = _flatten(call)
    # Two look-ups, both with keys that C or C++ compares. The structure and the types of leaves
    # determine which leaves are arrays, then the static leaves determine the program. Both raise
    # for unhashable values.
    types = tuple(map(type, leaves))
    try:
        split = programs.known.get((treedef, types))
    except TypeError:
        split = None
    if split is None:
        split = programs.split(treedef, leaves, call)
    try:
        program = split.programs.get(split.key(leaves))
    except TypeError:
        program = None
    if program is None:
        program = programs.program(split, leaves, call)
    # `split.arguments`, inlined.
    args = (*compress(leaves, split.donated), list(compress(leaves, split.kept)))
    try:
        arrays, signature = program(*args)
        if signature.has_checks is not False:
            _wait_for_checks(program, args, arrays, signature)
    except Exception as error:  # ValueError from JAX's fast path, else JaxRuntimeError
        found = translated(error)
        if found is None:
            programs.explain(call, error)
            raise
        raise found from None
    return signature.result(arrays)


def _run_quick(program: Any, args: tuple[Any, ...]) -> Any:
    """As `_run`, if every leaf of the arguments is an array: then JAX flattens the call itself."""
    try:
        result, signature = program(*args)
        if signature.has_checks is not False:
            _wait_for_checks(program, args, jtu.tree_leaves(result), signature)
    except Exception as error:
        found = translated(error)
        if found is None:
            raise
        raise found from None
    return signature.of_quick(result)


def _wait_for_checks(
    program: Any, args: tuple[Any, ...], arrays: list[Any], signature: Signature
) -> None:
    """Determines once whether the program has run-time checks, and if so waits for it."""
    if signature.has_checks is None:
        signature.has_checks = (
            any_checks()
            and not jit_is_disabled()  # then there is no program to read
            and has_checks(program_of(program.trace(*args)))
        )
    if signature.has_checks:
        wait(arrays)


@overload
def filter_jit(
    *,
    donate: Donate = "none",
    in_shardings: PlacesSpec = None,
    out_shardings: PlacesSpec = None,
    **jitkwargs: Unpack[JitKwargs],
) -> JitDecorator: ...
@overload
def filter_jit(
    fun: Callable[P, R],
    *,
    donate: Donate = "none",
    in_shardings: PlacesSpec = None,
    out_shardings: PlacesSpec = None,
    **jitkwargs: Unpack[JitKwargs],
) -> JitFunction[P, R]: ...
@public
def filter_jit(
    fun: Any = ...,
    *,
    donate: Donate = "none",
    in_shardings: PlacesSpec = None,
    out_shardings: PlacesSpec = None,
    **jitkwargs: Any,
) -> Any:
    """Compiles a function: all arrays among its arguments are traced, everything else is static.

    **Arguments:**

    - `fun`: the function; or any callable PyTree, such as a module or one of its methods, whose
        arrays are then traced as well. Left out, a decorator is returned.
    - `donate`: whose memory the result may reuse: `"all"` arrays; `"all-except-first"`, all but
        those of the first argument; `"none"`; or those of some parameters, as a tuple of their
        names. With names, `"warn"` and `"warn-except-first"`, JAX warns of a donation that the
        program has no use for.
    - `in_shardings`: where the arrays of the arguments lie when the program starts: a tuple with an
        entry for each parameter in order (`self` of a method is the first; `*args` have one for all
        of them), a dictionary from names of parameters to entries, where what is left out may lie
        anywhere, or one entry for all arguments. An entry is what
        [`filtered_transforms.filter_shard`][] takes: a sharding, a `jax.sharding.PartitionSpec`
        under `jax.set_mesh`, a device, `None` (it stays where it is), a function of the path and
        the value of a leaf, which is asked once for each shape and dtype, or a tree of those that
        is a prefix of the argument; or [`tree_surgery.ShardingRules`][]. As in `jax.jit`, an array
        that was not put anywhere yet is brought there, and one that was put elsewhere is an error.
    - `out_shardings`: where the arrays of the result lie: one entry, as above, for all of it.
    - `**jitkwargs`: passed on to `jax.jit`: `inline`, `keep_unused`, `compiler_options`, ...

    **Returns:**

    A function with the name, docstring and signature of `fun`. It is a PyTree, can decorate
    methods, and has `lower` and `trace` like the functions of `jax.jit`. The result may hold
    values that are not arrays.

    A call with other static values, or another structure, compiles anew. The call returns before
    the result is computed, as with `jax.jit`, unless the program contains a run-time check.

    **Raises:**

    - `ValueError` for an unknown `donate`, or one that names no parameter; and for an option that
        goes by parameters (`static_argnums`, ...).
    - `ValueError` for `in_shardings` or `out_shardings` that do not fit the arguments or the
        result, for a dimension that does not divide, and for an array that was put elsewhere; it
        names the path of the array. `TypeError` for an entry that says of no place.
    - `TypeError` if a static value is not hashable; it names the path of the value.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_jit

    @filter_jit
    def apply(x, activation):
        return activation(x), activation

    y, activation = apply(jnp.ones(3), jnp.tanh)
    assert y.shape == (3,) and activation is jnp.tanh
    ```
    """
    options = jit_options(donate, jitkwargs, in_shardings, out_shardings)

    def wrap(fun: Any) -> JitWrapper:
        options.check(fun)
        check_in_shardings(in_shardings, fun)
        return JitWrapper(fun, options)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_jit")
    return decorate(wrap, fun, "filter_jit")


def clear_jit_caches() -> None:
    """Forgets all programs of `filter_jit`."""
    _REGISTRIES.clear()
