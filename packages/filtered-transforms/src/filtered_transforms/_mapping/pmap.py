"""`filter_pmap`: a function on several devices at once, one slice of the arrays on each."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from itertools import compress
from typing import Any, NamedTuple, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.if_array import if_array
from filtered_transforms._filters.output_structure import Signature
from filtered_transforms._filters.partition import merge
from filtered_transforms._filters.predicates import array_mask
from filtered_transforms._filters.static_leaf import StaticLeaf
from filtered_transforms._jax.jaxprs import ShapeAndDtype, ends_on_a_device
from filtered_transforms._jax.rewrite import used_arguments
from filtered_transforms._jax.tracers import is_concrete
from filtered_transforms._jit.bounded_table import BoundedTable
from filtered_transforms._jit.by_function import ByFunction, is_weak
from filtered_transforms._jit.check_registry import any_checks, has_checks, translated, wait
from filtered_transforms._jit.donation import usable_donations
from filtered_transforms._jit.options import JitOptions, jit_options
from filtered_transforms._types import AxesSpec, Donate, P, PmapDecorator, PmapFunction, R
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery.extend import public

from .axes import axes_of, positional_axes
from .result_axes import ResultAxes

_MAX_PROGRAMS = 1024  # of one function, or of all callable PyTrees together


_PROGRAMS: ByFunction[BoundedTable] = ByFunction(lambda fun: BoundedTable(_MAX_PROGRAMS))
"""The programs of `filter_pmap`: written and read by its calls; dropped by `clear_caches`."""


class _Program(NamedTuple):
    """One trace: a function of `jax.pmap`, of arrays alone, and all else about its result."""

    pmapped: Any
    signature: Signature
    is_checked: bool

    def __call__(self, arrays: list[Any]) -> Any:
        if not self.is_checked:
            return self.signature.result(self.pmapped(*arrays))
        try:
            found = self.pmapped(*arrays)
            wait(found)
        except Exception as error:
            translation = translated(error)
            if translation is None:
                raise
            raise translation from None
        return self.signature.result(found)


class _Call(NamedTuple):
    """A call taken apart: its leaves, and the axis of each.

    The leaves are those of `(fun, args)`, or of `(args,)` where programs are kept for `fun` itself.
    """

    function: Callable[[], Any] | None
    treedef: Any
    leaves: list[Any]
    mask: list[bool]
    axes: list[Any]

    @property
    def key(self) -> Hashable:
        """All but the values of the arrays."""
        described = [
            (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
            if array
            else StaticLeaf(leaf)
            for leaf, array in zip(self.leaves, self.mask, strict=True)
        ]
        return self.treedef, tuple(self.axes), tuple(described)

    def parts(self, leaves: list[Any]) -> tuple[Any, Any]:
        """The function and its arguments, with other leaves in their place."""
        whole = self.treedef.unflatten(leaves)
        return whole if self.function is None else (self.function(), *whole)


class PmapWrapper(Wrapper):
    """A function that runs on several devices at once: what `filter_pmap` returns."""

    in_axes: Any
    out_axes: Any
    axis_name: Any = field(static=True)
    axis_size: int | None = field(static=True)
    options: JitOptions = field(static=True)

    def __init__(
        self, fun: Any, axes: tuple[Any, Any], name: Any, size: int | None, options: JitOptions
    ):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.in_axes, self.out_axes = axes
        self.axis_name = name
        self.axis_size = size
        self.options = options

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        program, arrays = self._program(args, kwargs)
        return program(arrays)

    def lower(self, /, *args: Any, **kwargs: Any) -> "Lowered":
        """As `jax.pmap(...).lower`."""
        program, arrays = self._program(args, kwargs)
        return Lowered(self, program, program.pmapped.lower(*arrays))

    def _program(self, args: tuple[Any, ...], kwargs: Any) -> tuple[_Program, list[Any]]:
        if kwargs:
            raise RuntimeError(
                f"keyword arguments cannot be used with functions wrapped with `filter_pmap` (got "
                f"{', '.join(kwargs)}). Pass them by position, or bind them with `Partial`."
            )
        call = self._call(args)
        arrays = list(compress(call.leaves, call.mask))
        # What is traced has no memory of its own to give.
        donates = self.options.donate != "none" and all(map(is_concrete, arrays))
        if not any(axis is not None for axis in call.axes):
            if self.axis_size is None:
                raise ValueError(
                    "Cannot resolve batch dimension. `filter_pmap` needs an argument that is "
                    "mapped, or `axis_size`, to know on how many devices to run."
                )
            arrays.append(jnp.arange(self.axis_size))  # JAX wants an argument that is mapped
        out_axes, out_treedef = jtu.tree_flatten(self.out_axes, is_leaf=lambda x: x is None)
        own = (self.options, self.axis_name, self.axis_size, out_treedef, *out_axes)
        key = (own, donates, call.key)
        programs = _PROGRAMS.of(self.fun)
        program = programs.get(key)
        if program is None:
            program = programs.add(key, self._trace(call, arrays, donates))
        return program, arrays

    def _call(self, args: tuple[Any, ...]) -> _Call:
        kept_for_function = is_weak(self.fun)
        own = [] if kept_for_function else jtu.tree_leaves(self.fun)
        leaves, treedef = jtu.tree_flatten((args,) if kept_for_function else (self.fun, args))
        in_axes = self.in_axes
        if isinstance(in_axes, dict):
            in_axes = positional_axes(self.fun, in_axes, len(args), if_array(0))
        axes = [None] * len(own) + axes_of(in_axes, args, leaves[len(own) :], "in_axes")
        mask = array_mask(leaves)
        for leaf, axis, array in zip(leaves, axes, mask, strict=True):
            if axis is not None and not array:
                raise ValueError(
                    f"`in_axes` of `filter_pmap` gives the axis {axis} to a non-array leaf: "
                    f"{leaf!r}."
                )
        axes = [
            axis + jnp.ndim(leaf) if axis is not None and axis < 0 else axis
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        function = weakref.ref(self.fun) if kept_for_function else None
        return _Call(function, treedef, leaves, mask, axes)

    def _trace(self, call: _Call, arrays: list[Any], donates: bool) -> _Program:
        mask, count = call.mask, sum(call.mask)
        static = [leaf for leaf, array in zip(call.leaves, mask, strict=True) if not array]
        in_axes = list(compress(call.axes, mask))
        in_axes += [0] * (len(arrays) - count)
        result, parts = ResultAxes(self.out_axes), call._replace(leaves=[]).parts

        def flat(*given: Any) -> list[Any]:
            fun, args = parts(merge(mask, given[:count], static))
            return result.arrays_of(fun(*args))

        # `jax.pmap` reads the axes of the result before it traces the function, unlike `jax.vmap`.
        # A trace by that finds them, and what the program donates and checks.
        traced, shapes = jax.make_jaxpr(
            jax.vmap(
                flat,
                in_axes=tuple(in_axes),
                out_axes=result.axes,
                axis_name=self.axis_name,
                axis_size=self.axis_size,
            ),
            return_shape=True,
        )(*arrays)
        axes_out = [
            axis + len(shape.shape) if axis is not None and axis < 0 else axis
            for axis, shape in zip(result.axes, shapes, strict=True)
        ]
        may_give = self._may_give(call) if donates else []
        pmapped = jax.pmap(
            flat,
            axis_name=self.axis_name,
            in_axes=tuple(in_axes),
            out_axes=axes_out,
            axis_size=self.axis_size,
            donate_argnums=self._given(traced, may_give, in_axes, axes_out),
            **self.options.jit_arguments(),
        )
        is_checked = any_checks() and has_checks(traced)
        return _Program(pmapped, result.signature, is_checked)

    def _may_give(self, call: _Call) -> list[int]:
        """Indices of the arrays of a call that `donate` allows to donate."""
        fun, args = call.parts(call.leaves)
        size = jtu.tree_structure(args).num_leaves
        donated = [False] * (len(call.leaves) - size)
        donated += self.options.donated(fun, (args, {}), size)
        return [i for i, gone in enumerate(compress(donated, call.mask)) if gone]

    def _given(
        self, traced: Any, may_give: list[int], in_axes: list[Any], out_axes: list[Any]
    ) -> tuple[int, ...]:
        """Indices to donate: the usable ones, or all if JAX should warn about unusable ones."""
        if not self.options.quiet:
            return tuple(may_give)
        used = used_arguments(traced)
        arguments, results = ends_on_a_device(traced)
        given = {i: _slice(arguments[i], in_axes[i]) for i in may_give if used[i]}
        return usable_donations(given, list(map(_slice, results, out_axes)))

    def __repr__(self) -> str:
        return f"filter_pmap({self.fun!r})"


def _slice(array: ShapeAndDtype, axis: int | None) -> ShapeAndDtype:
    shape, dtype = array
    return (shape if axis is None else (*shape[:axis], *shape[axis + 1 :])), dtype


def clear_pmap_caches() -> None:
    """Forgets all programs of `filter_pmap`."""
    _PROGRAMS.clear()


class Lowered:
    """A lowered program, with the attributes of JAX's stage."""

    def __init__(self, wrapper: PmapWrapper, program: _Program, stage: Any):
        self._wrapper, self._program, self._stage = wrapper, program, stage

    def compile(self) -> "Lowered":
        """As for JAX's stage. The result is called as the function is."""
        return Lowered(self._wrapper, self._program, self._stage.compile())

    def __call__(self, *args: Any) -> Any:
        found, arrays = self._wrapper._program(args, {})  # pyright: ignore[reportPrivateUsage]
        if found is not self._program:
            raise TypeError("called with other arguments than it was compiled for.")
        return self._program.signature.result(self._stage(*arrays))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)


class PmapKwargs(TypedDict, total=False):
    """The other options of `jax.pmap`."""

    devices: Sequence[Any] | None
    backend: str | None


@overload
def filter_pmap(
    *,
    in_axes: AxesSpec = ...,
    out_axes: AxesSpec = ...,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    donate: Donate = "none",
    **pmapkwargs: Unpack[PmapKwargs],
) -> PmapDecorator: ...
@overload
def filter_pmap(
    fun: Callable[P, R],
    *,
    in_axes: AxesSpec = ...,
    out_axes: AxesSpec = ...,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    donate: Donate = "none",
    **pmapkwargs: Unpack[PmapKwargs],
) -> PmapFunction[P, R]: ...
@public
def filter_pmap(
    fun: Any = ...,
    *,
    in_axes: AxesSpec = if_array(0),  # noqa: B008 (immutable)
    out_axes: AxesSpec = if_array(0),  # noqa: B008
    axis_name: Hashable = None,
    axis_size: int | None = None,
    donate: Donate = "none",
    **pmapkwargs: Any,
) -> Any:
    """Runs a function on several devices at once, each with its slice of the array arguments.

    For new programs, `jax.shard_map` and shardings with `filter_jit` are what JAX recommends.

    **Arguments:**

    - `fun`, `in_axes`, `out_axes`, `axis_name`, `axis_size`: as for `filter_vmap`.
    - `donate`: as for `filter_jit`.
    - `**pmapkwargs`: passed on to `jax.pmap`: `devices`, `backend`.

    **Returns:**

    A function of the same positional arguments, with `lower` as that of `jax.pmap`. Non-array
    leaves are static: other values compile anew.

    **Raises:** `RuntimeError` when called with keyword arguments; `ValueError` for options that go
    by the number of a parameter, for axes that do not fit, and for a `donate` that names no
    parameter; `TypeError` for an option that `jax.pmap` does not have.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_pmap

    y, name = filter_pmap(lambda x, name: (x.sum(), name))(jnp.ones((1, 3)), "sum")
    assert y.tolist() == [3.0] and name == "sum"
    ```
    """
    refused = {"static_broadcasted_argnums", "donate_argnums"} & pmapkwargs.keys()
    if refused:
        raise ValueError(
            f"`pmapkwargs` cannot contain either 'static_broadcasted_argnums' or 'donate_argnums' "
            f"(got {min(refused)!r}): non-array leaves are static, and `donate=` says what is "
            f"donated."
        )
    options = jit_options(donate, pmapkwargs)
    if pmapkwargs:
        jax.pmap(lambda: None, **pmapkwargs)  # says now what it does not know

    def wrap(fun: Any) -> PmapWrapper:
        options.check(fun)
        return PmapWrapper(fun, (in_axes, out_axes), axis_name, axis_size, options)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_pmap")
    return decorate(wrap, fun, "filter_pmap")
