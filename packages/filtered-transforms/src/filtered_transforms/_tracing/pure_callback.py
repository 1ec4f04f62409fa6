"""`filter_pure_callback`: Python code in a compiled program."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.tree_util as jtu
import numpy as np

from filtered_transforms._filters.eval_shape import abstract_mask
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._filters.predicates import is_array
from filtered_transforms._filters.static_leaf import same_static
from filtered_transforms._filters.static_nodes import is_number
from filtered_transforms._filters.structure_errors import describe, structure_difference
from filtered_transforms._types import PyTree
from tree_surgery import path_str
from tree_surgery.extend import public

VmapMethod = Literal[
    "sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized"
]


@public
def filter_pure_callback(
    callback: Callable[..., Any],
    *args: PyTree,
    result_shape_dtypes: PyTree,
    sharding: jax.sharding.Sharding | None = None,
    vmap_method: VmapMethod | None = None,
    vectorized: bool | None = None,
    **kwargs: PyTree,
) -> PyTree:
    """`jax.pure_callback` with any PyTrees: calls a Python function from a compiled program.

    **Arguments:**

    - `callback`: a function without side effects; it is called with concrete arrays.
    - `*args`, `**kwargs`: its arguments, any PyTrees.
    - `result_shape_dtypes`: what it will return, with a `jax.ShapeDtypeStruct`, or an array of the
        same shape and dtype, for each array; and the values themselves for non-array leaves.
    - `sharding`, `vmap_method`: as for `jax.pure_callback`.
    - `vectorized`: the former form of `vmap_method`: `True` for `"legacy_vectorized"`, `False` for
        `"sequential"`.

    **Returns:** what `callback` returns.

    **Raises:** when the program runs, if `callback` returns something that does not match
    `result_shape_dtypes`.

    ```python
    import jax
    import jax.numpy as jnp
    import numpy as np
    from filtered_transforms import filter_jit, filter_pure_callback

    @filter_jit
    def sort(x, name):
        shapes = (jax.ShapeDtypeStruct(x.shape, x.dtype), name)
        on_host = lambda x, name: (np.sort(x), name)
        return filter_pure_callback(on_host, x, name, result_shape_dtypes=shapes)

    y, name = sort(jnp.array([3.0, 1.0]), "sorted")
    assert y.tolist() == [1.0, 3.0] and name == "sorted"
    ```
    """
    if vectorized is not None:
        if vmap_method is not None:
            raise ValueError("`vectorized` is the former form of `vmap_method`: give one of them.")
        vmap_method = "legacy_vectorized" if vectorized else "sequential"
    leaves, treedef = jtu.tree_flatten((args, kwargs))
    mask = abstract_mask(leaves)
    arrays, others = split(leaves, mask)
    expected, out_treedef = jtu.tree_flatten(result_shape_dtypes)
    out_mask = abstract_mask(expected)
    shapes, static = split(expected, out_mask)
    shapes = [jax.ShapeDtypeStruct(shape.shape, shape.dtype) for shape in shapes]
    # Not `result_shape_dtypes` itself: it may hold tracers, which must not outlive their trace.
    promised = out_treedef.unflatten(merge(out_mask, shapes, static))

    def flat(*arrays: Any) -> list[Any]:
        positional, named = treedef.unflatten(merge(mask, arrays, others))
        return _arrays_of(callback(*positional, **named), promised)

    found = jax.pure_callback(
        flat,
        shapes,
        *arrays,
        sharding=sharding,
        vmap_method=vmap_method,
    )
    return out_treedef.unflatten(merge(out_mask, found, static))


def _arrays_of(out: Any, promised: Any) -> list[Any]:
    """The arrays of the result of a callback.

    **Raises:** `ValueError` if the result does not match `promised`.
    """
    expected, treedef = jtu.tree_flatten(promised)
    found, found_treedef = jtu.tree_flatten(out)
    if treedef != found_treedef:
        path, x, y = structure_difference(promised, out)
        raise _broken(path, x, y)
    arrays: list[Any] = []
    for i, (x, y) in enumerate(zip(expected, found, strict=True)):
        if not abstract_mask([x])[0]:
            fits = same_static(x, y)
        elif is_number(y):
            arrays.append(np.asarray(y, x.dtype))
            fits = True
        else:
            arrays.append(y)
            fits = is_array(y)
        if not fits:
            raise _broken(path_str(jtu.tree_leaves_with_path(promised)[i][0]), x, y)
    return arrays


def _broken(path: str, promised: Any, found: Any) -> ValueError:
    return ValueError(
        f"the callback of `filter_pure_callback` did not return what `result_shape_dtypes` says. "
        f"At {path} it should be {describe(promised)}, and the callback returned {describe(found)}."
    )
