"""`filter_vmap`: arrays are mapped over, everything else is passed as it is."""

from collections.abc import Callable, Hashable
from itertools import compress
from typing import Any, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.if_array import if_array
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._types import AxesSpec, Decorator, P, R, Wrapped
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from pytree_module import field
from tree_surgery.extend import public

from .axes import axes_of, positional_axes
from .result_axes import ResultAxes


class VmapWrapper(Wrapper):
    """A function that is mapped over an axis: what `filter_vmap` returns."""

    in_axes: Any
    out_axes: Any
    axis_name: Any = field(static=True)
    axis_size: int | None = field(static=True)
    vmapkwargs: tuple[tuple[str, Any], ...] = field(static=True)

    def __init__(
        self,
        fun: Any,
        axes: tuple[Any, Any],
        axis_name: Any,
        axis_size: int | None,
        vmapkwargs: dict[str, Any],
    ):
        self.fun = fun
        self.__module__ = module_of(fun)
        self.in_axes, self.out_axes = axes
        self.axis_name = axis_name
        self.axis_size = axis_size
        self.vmapkwargs = tuple(sorted(vmapkwargs.items()))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise RuntimeError(
                f"keyword arguments cannot be used with functions wrapped with `filter_vmap` (got "
                f"{', '.join(kwargs)}). Pass them by position, or bind them with `Partial`."
            )
        leaves, treedef = jtu.tree_flatten(args)
        axes = self._in_axes(args, leaves)
        mapped = [axis is not None for axis in axes]
        arrays_in, unmapped = split(leaves, mapped)
        in_axes = tuple(compress(axes, mapped))
        result = ResultAxes(self.out_axes)

        def flat(*given: Any) -> list[Any]:
            return result.arrays_of(self.fun(*treedef.unflatten(merge(mapped, given, unmapped))))

        if len(in_axes) == 0 and self.axis_size is None:
            # Nothing is mapped: the result is that of the function, if it needs no axis either.
            self._check_nothing_is_named()
            arrays = flat()
            if any(axis is not None for axis in result.axes):
                raise _no_axis()
            return result.signature.result(arrays)
        if self.axis_size is not None:
            _check_sizes(self.axis_size, arrays_in, in_axes)
        batched = jax.vmap(
            flat,
            in_axes=in_axes,
            out_axes=result.axes,
            axis_name=self.axis_name,
            axis_size=self.axis_size,
            **dict(self.vmapkwargs),
        )
        arrays = batched(*arrays_in)
        return result.signature.result(arrays)

    def _in_axes(self, args: tuple[Any, ...], leaves: list[Any]) -> list[Any]:
        """The axis of each leaf of the arguments."""
        in_axes = self.in_axes
        if isinstance(in_axes, dict):
            in_axes = positional_axes(self.fun, in_axes, len(args), if_array(0))
        return axes_of(in_axes, args, leaves, "in_axes")

    def _check_nothing_is_named(self) -> None:
        if self.axis_name is not None or "spmd_axis_name" in dict(self.vmapkwargs):
            raise _no_axis_to_name()

    def __repr__(self) -> str:
        return f"filter_vmap({self.fun!r})"


def _no_axis() -> ValueError:
    return ValueError(
        "Cannot resolve batch dimension. Non-`None` `out_axes` requires either `in_axes` or "
        "`axis_size` to be not `None`: no argument is mapped, so there is nothing to say how "
        "often to repeat the result."
    )


def _check_sizes(size: int, arrays: list[Any], axes: tuple[Any, ...]) -> None:
    # JAX 0.7 does not raise: it takes the size of the arrays.
    for array, axis in zip(arrays, axes, strict=True):
        shape = jnp.shape(array)
        if -len(shape) <= axis < len(shape) and shape[axis] != size:
            raise ValueError(
                f"`filter_vmap` got `axis_size={size}` and an array of shape {shape}, whose axis "
                f"{axis}, over which it maps, is of another size."
            )


def _no_axis_to_name() -> ValueError:
    return ValueError(
        "`filter_vmap` got `axis_name` or `spmd_axis_name`, but nothing is mapped that could bear "
        "the name: all `in_axes` are `None`, and there is no `axis_size`."
    )


class VmapKwargs(TypedDict, total=False):
    """The other options of `jax.vmap`."""

    spmd_axis_name: Hashable


@overload
def filter_vmap(
    *,
    in_axes: AxesSpec = ...,
    out_axes: AxesSpec = ...,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    **vmapkwargs: Unpack[VmapKwargs],
) -> Decorator: ...
@overload
def filter_vmap(
    fun: Callable[P, R],
    *,
    in_axes: AxesSpec = ...,
    out_axes: AxesSpec = ...,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    **vmapkwargs: Unpack[VmapKwargs],
) -> Wrapped[P, R]: ...
@public
def filter_vmap(
    fun: Any = ...,
    *,
    in_axes: AxesSpec = if_array(0),  # noqa: B008 (immutable)
    out_axes: AxesSpec = if_array(0),  # noqa: B008
    axis_name: Hashable = None,
    axis_size: int | None = None,
    **vmapkwargs: Any,
) -> Any:
    """Maps a function over an axis of its array arguments; everything else is passed as it is.

    **Arguments:**

    - `fun`: the function, or any callable PyTree, whose own arrays are not mapped. Left out, a
        decorator is returned.
    - `in_axes`: which axis of each array argument to map over; `None` for none. A tree of `int`,
        `None` and functions from a leaf to those (such as `if_array(0)`) that is a prefix of the
        tuple of positional arguments; or a dictionary from names of parameters to such trees, where
        parameters left out have `if_array(0)`.
    - `out_axes`: where the mapped axis stands in each array of the result; a prefix of the result.
    - `axis_name`: names the axis for collectives, such as `jax.lax.psum`.
    - `axis_size`: the size of the axis, needed only if nothing is mapped.
    - `**vmapkwargs`: passed on to `jax.vmap`: `spmd_axis_name`, ...

    **Returns:**

    A function of the same positional arguments. Its result may hold values that are not arrays.

    **Raises:** `RuntimeError` when called with keyword arguments; `ValueError` for axes that do not
    fit the arguments or the result, and for a name of an axis where nothing is mapped; `TypeError`
    for an option that `jax.vmap` does not have.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_vmap

    batched = filter_vmap(lambda x, name: (x.sum(), name))
    y, name = batched(jnp.ones((5, 3)), "sum")
    assert y.shape == (5,) and name == "sum"
    ```
    """

    if vmapkwargs:
        jax.vmap(lambda: None, **vmapkwargs)  # says now what it does not know

    def wrap(fun: Any) -> VmapWrapper:
        return VmapWrapper(fun, (in_axes, out_axes), axis_name, axis_size, vmapkwargs)

    if fun is ...:
        return lambda fun: decorate(wrap, fun, "filter_vmap")
    return decorate(wrap, fun, "filter_vmap")
