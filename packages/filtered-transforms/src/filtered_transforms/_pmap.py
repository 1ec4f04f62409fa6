"""`filter_pmap`: a function on several devices at once, one slice of the arrays on each."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from itertools import compress
from typing import Any, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from pytree_module import field

from ._axes import axes_of, if_array, positional_axes
from ._checks import any_checks, has_checks, translated, wait
from ._options import JitOptions, jit_options
from ._partition import merge
from ._predicates import array_mask
from ._signature import Signature
from ._static_leaf import StaticLeaf
from ._types import AxesSpec, Donate, P, PmapDecorator, PmapFunction, R
from ._wrapper import Wrapper, decorate, module_of

_MAX_PROGRAMS = 1024  # of one wrapped function; the oldest goes first, as for `filter_jit`


class _Programs(dict[Hashable, Any]):
    # What a wrapped function has compiled. No part of its value: all are equal.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Programs)

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  (dict has none)
        return hash(_Programs)


class _Program:
    # One trace: a function of arrays alone for `jax.pmap`, and all else about the result.

    def __init__(self, pmapped: Any, signature: Signature, is_quiet: bool, is_checked: bool):
        self.pmapped = pmapped
        self.signature = signature
        self.is_new_and_quiet = is_quiet
        self.is_checked = is_checked

    def __call__(self, arrays: list[Any]) -> Any:
        if not self.is_checked:
            return self.signature.result(self._run(arrays))
        try:
            found = self._run(arrays)
            wait(found)
        except Exception as error:
            translation = translated(error)
            if translation is None:
                raise
            raise translation from None
        return self.signature.result(found)

    def _run(self, arrays: list[Any]) -> list[Any]:
        if not self.is_new_and_quiet:
            return self.pmapped(*arrays)
        with warnings.catch_warnings():  # once: while it is compiled
            warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
            found = self.pmapped(*arrays)
        self.is_new_and_quiet = False
        return found


class PmapWrapper(Wrapper):
    in_axes: Any
    out_axes: Any
    axis_name: Any = field(static=True)
    axis_size: int | None = field(static=True)
    donate: JitOptions = field(static=True)
    pmapkwargs: tuple[tuple[str, Any], ...] = field(static=True)
    _programs: _Programs = field(static=True)

    def __init__(self, fun: Any, axes: tuple[Any, Any], name: Any, size: int | None, rest: Any):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.in_axes, self.out_axes = axes
        self.axis_name = name
        self.axis_size = size
        self.donate = rest[0]
        self.pmapkwargs = tuple(sorted(rest[1].items()))
        self._programs = _Programs()

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
        own = jtu.tree_leaves(self.fun)
        leaves, treedef = jtu.tree_flatten((self.fun, args))
        in_axes = self.in_axes
        if isinstance(in_axes, dict):
            in_axes = positional_axes(self.fun, in_axes, len(args), if_array(0))
        axes = [None] * len(own) + axes_of(in_axes, args, leaves[len(own) :], "in_axes")
        mask = array_mask(leaves)
        for leaf, axis, array in zip(leaves, axes, mask, strict=True):
            if axis is not None and not array:
                raise ValueError(
                    f"`in_axes` of `filter_pmap` gives the axis {axis} to what is no array: "
                    f"{leaf!r}."
                )
        axes = [
            axis + jnp.ndim(leaf) if axis is not None and axis < 0 else axis
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        arrays = list(compress(leaves, mask))
        key = (
            treedef,
            tuple(axes),
            tuple(
                (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
                if array
                else StaticLeaf(leaf)
                for leaf, array in zip(leaves, mask, strict=True)
            ),
        )
        if not any(axis is not None for axis in axes):
            if self.axis_size is None:
                raise ValueError(
                    "Cannot resolve batch dimension. `filter_pmap` needs an argument that is "
                    "mapped, or `axis_size`, to know on how many devices to run."
                )
            arrays.append(jnp.arange(self.axis_size))  # JAX wants an argument that is mapped
        program = self._programs.get(key)
        if program is None:
            while len(self._programs) >= _MAX_PROGRAMS:
                self._programs.pop(next(iter(self._programs)), None)
            program = self._programs[key] = self._trace(treedef, leaves, mask, axes, arrays)
        return program, arrays

    def _trace(
        self, treedef: Any, leaves: list[Any], mask: list[bool], axes: list[Any], arrays: list[Any]
    ) -> _Program:
        static = [leaf for leaf, array in zip(leaves, mask, strict=True) if not array]
        in_axes = list(compress(axes, mask))
        in_axes += [0] * (len(arrays) - len(in_axes))
        out_spec, count = self.out_axes, sum(mask)
        out_axes: list[Any] = []  # filled by the trace; `jax.vmap` reads it after that
        signature: Any = None

        def flat(*given: Any) -> list[Any]:
            nonlocal signature
            fun, args = treedef.unflatten(merge(mask, given[:count], static))
            out = fun(*args)
            out_leaves, out_treedef = jtu.tree_flatten(out)
            found = axes_of(out_spec, out, out_leaves, "out_axes")
            through = [
                axis is not None or array
                for axis, array in zip(found, array_mask(out_leaves), strict=True)
            ]
            out_axes[:] = compress(found, through)
            signature = Signature(out_treedef, out_leaves, through)
            return list(compress(out_leaves, through))

        # `jax.pmap` wants the axes of the result before it runs the function: the same with `vmap`.
        traced, shapes = jax.make_jaxpr(
            jax.vmap(
                flat,
                in_axes=tuple(in_axes),
                out_axes=out_axes,
                axis_name=self.axis_name,
                axis_size=self.axis_size,
            ),
            return_shape=True,
        )(*arrays)
        axes_out = [
            axis + len(shape.shape) if axis is not None and axis < 0 else axis
            for axis, shape in zip(out_axes, shapes, strict=True)
        ]
        fun, args = treedef.unflatten(leaves)
        is_argument = len(leaves) - jtu.tree_structure(args).num_leaves
        donated = [False] * is_argument + self.donate.donated(
            fun, (args, {}), len(leaves) - is_argument
        )
        numbers = [i for i, gone in enumerate(compress(donated, mask)) if gone]
        pmapped = jax.pmap(
            flat,
            axis_name=self.axis_name,
            in_axes=tuple(in_axes),
            out_axes=axes_out,
            axis_size=self.axis_size,
            donate_argnums=tuple(numbers),
            **dict(self.pmapkwargs),
        )
        is_checked = any_checks() and has_checks(traced.jaxpr)
        return _Program(pmapped, signature, self.donate.quiet, is_checked)

    def __repr__(self) -> str:
        return f"filter_pmap({self.fun!r})"


class Lowered:
    # A lowered program, with the attributes of JAX's stage.

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

    A function of the same positional arguments, with `lower` as that of `jax.pmap`. What is no
    array is static: other values compile anew.

    **Raises:** `RuntimeError` when called with keyword arguments; `ValueError` for options that go
    by the number of a parameter, and for axes that do not fit.

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
            f"(got {min(refused)!r}): what is no array is static, and `donate=` says what is "
            f"donated."
        )
    options = jit_options(donate, {})

    def wrap(fun: Any) -> PmapWrapper:
        return PmapWrapper(fun, (in_axes, out_axes), axis_name, axis_size, (options, pmapkwargs))

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_pmap")
    return decorate(wrap, fun, "filter_pmap")
