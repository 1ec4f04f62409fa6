"""`filter_closure_convert`: a function as a PyTree of the arrays that it closes over."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from filtered_transforms._filters.eval_shape import abstract_mask, is_abstract
from filtered_transforms._filters.hashable import hashable_combine, hashable_partition
from filtered_transforms._filters.partition import split
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._filters.static_leaf import same_static
from filtered_transforms._filters.structure_errors import describe, structure_difference
from filtered_transforms._jax.evaluate import evaluate
from filtered_transforms._jax.jaxprs import jaxpr_output_types, opened
from filtered_transforms._types import Converted, P, PyTree, R
from pytree_module import Module, field
from tree_surgery import path_str
from tree_surgery.extend import public

if TYPE_CHECKING:
    from filtered_transforms._jax.jaxpr_classes import Jaxpr


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A tree without the values of its arrays.

    Two are equal if shapes, dtypes and other leaves are.
    """

    shapes: tuple[jax.ShapeDtypeStruct, ...]
    rest: tuple[Any, ...]

    @property
    def tree(self) -> Any:
        return hashable_combine(list(self.shapes), self.rest)

    def arrays(self, call: Any) -> list[Any]:
        """The arrays of a call.

        **Raises:** `ValueError` if the call differs from the converted one.
        """
        leaves, treedef = jtu.tree_flatten(call)
        expected, mask = self.tree, abstract_mask(leaves)
        if treedef != self.rest[0]:
            path, old, new = structure_difference(expected, call)
            raise ValueError(
                "Closure-converted function called with different arguments to the example "
                f"arguments provided: the structure is another. At {path} of `(args, kwargs)` it "
                f"was converted with {describe(old)}, and called with {describe(new)}."
            )
        for i, (old, new) in enumerate(zip(jtu.tree_leaves(expected), leaves, strict=True)):
            was_array = self.rest[1][i]
            if was_array:
                # Devices and weak types of arrays may differ.
                fits = mask[i] and old.shape == jnp.shape(new) and old.dtype == new.dtype
            else:
                fits = not mask[i] and same_static(old, new)
            if not fits:
                kind = "dynamic" if was_array else "static"
                path = path_str(jtu.tree_leaves_with_path(call)[i][0])
                raise ValueError(
                    f"Closure-converted function called with different {kind} arguments to the "
                    f"example arguments provided. At {path} of `(args, kwargs)` it was converted "
                    f"with {describe(old)}, and called with {describe(new)}."
                )
        return split(leaves, mask)[0]


@public("filtered_transforms.extend")
class ClosureConverted(Module):
    """A function that was traced: what `filter_closure_convert` returns.

    Its leaves are its program and the arrays that the function closed over, `consts`. Do not make
    one yourself.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_closure_convert
    from filtered_transforms.extend import ClosureConverted

    y = jnp.arange(2.0)
    converted = filter_closure_convert(lambda x: x * y, 3.0)
    assert isinstance(converted, ClosureConverted) and converted.consts[0] is y
    ```
    """

    # The program is a leaf, compared by identity; so `partition` and `combine` can exchange the
    # non-array leaves of two conversions of one function. Everything else compares equal.

    __scope__ = None  # its calls are not a layer

    jaxpr: "Jaxpr"
    consts: list[Any]
    _in: _Shape = field(static=True)
    _out: _Shape = field(static=True)

    @property
    def in_struct(self) -> PyTree:
        """`(args, kwargs)` that it can be called with, a `jax.ShapeDtypeStruct` for each array."""
        return self._in.tree

    @property
    def out_struct(self) -> PyTree:
        """Its result, with a `jax.ShapeDtypeStruct` for each array."""
        return self._out.tree

    def __call__(self, *args: PyTree, **kwargs: PyTree) -> PyTree:
        arrays = self._in.arrays((args, kwargs))
        return hashable_combine(evaluate(self.jaxpr, self.consts, arrays), self._out.rest)


@overload
def filter_closure_convert(
    fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> Converted[P, R]: ...
@overload
def filter_closure_convert(
    fn: Callable[P, R], *args: PyTree, **kwargs: PyTree
) -> Converted[P, R]: ...
@public
def filter_closure_convert(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A function as a PyTree: all arrays that it closes over, traced ones too, become its leaves.

    So they can be handed to a transformation, or to a custom derivative rule, by value.

    **Arguments:**

    - `fn`: any callable, itself possibly a PyTree.
    - `*args`, `**kwargs`: example arguments; a `jax.ShapeDtypeStruct` stands for an array.

    **Returns:**

    A function that can be called with arguments of the same structure, shapes and dtypes, and the
    same values for non-array leaves. Its leaves are the arrays, and the program. Its
    `in_struct` is `(args, kwargs)`, its `out_struct` the result, with a `jax.ShapeDtypeStruct` for
    each array.
    Inside of `jax.shard_map`, an example argument must vary over the same axes of the mesh as what
    it stands for.

    **Raises:** the result raises `ValueError` when it is called with other arguments, with the path
    and the example argument there.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_closure_convert

    @jax.grad
    def gradient(w):
        times = filter_closure_convert(lambda x: x * w, jnp.array(1.0))
        return times(jnp.array(3.0))

    assert gradient(jnp.array(2.0)) == 3.0
    ```
    """
    if not callable(fn):
        raise TypeError(f"`filter_closure_convert` expects a function, got {fn!r}.")
    arrays, rest = hashable_partition((args, kwargs), is_abstract)
    found: Any = None

    def flat(*arrays: Any) -> list[Any]:
        nonlocal found
        positional, named = hashable_combine(list(arrays), rest)
        out, found = hashable_partition(fn(*positional, **named), is_array)
        return out

    closed = jax.make_jaxpr(flat)(*arrays)
    shapes_in = tuple(jax.ShapeDtypeStruct(jnp.shape(array), array.dtype) for array in arrays)
    shapes_out = tuple(
        jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in jaxpr_output_types(closed)
    )
    ends = _Shape(shapes_in, rest), _Shape(shapes_out, found)
    return ClosureConverted(*opened(closed), *ends)
