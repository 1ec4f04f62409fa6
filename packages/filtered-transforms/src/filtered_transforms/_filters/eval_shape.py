"""`filter_eval_shape`: what a function returns, without computing it."""

from collections.abc import Callable
from typing import Any, overload

import jax
import jax.tree_util as jtu

from filtered_transforms._types import P, PyTree, R
from tree_surgery.extend import public

from .partition import merge, split
from .predicates import array_mask, is_array
from .static_leaf import wrap_static


def is_abstract(leaf: Any) -> bool:
    """Whether a leaf is an array, or stands for one (`jax.ShapeDtypeStruct`)."""
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def abstract_mask(leaves: list[Any]) -> list[bool]:
    """`is_abstract` of each leaf."""
    return [
        array or isinstance(leaf, jax.ShapeDtypeStruct)
        for leaf, array in zip(leaves, array_mask(leaves), strict=True)
    ]


@overload
def filter_eval_shape(fun: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
@overload
def filter_eval_shape(fun: Callable[..., R], *args: PyTree, **kwargs: PyTree) -> R: ...
@public
def filter_eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `fun(*args, **kwargs)` returns, with a `jax.ShapeDtypeStruct` for each array.

    Nothing is computed and no memory is used for arrays.

    **Arguments:**

    - `fun`: any callable, itself possibly a PyTree.
    - `*args`, `**kwargs`: its arguments; a `jax.ShapeDtypeStruct` stands for an array.

    **Returns:** the result of `fun`; its non-array leaves are as `fun` returns them.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_eval_shape

    out = filter_eval_shape(lambda x, name: (x.T, name), jnp.ones((2, 3)), "weight")
    assert out == (jax.ShapeDtypeStruct((3, 2), jnp.float32), "weight")
    ```
    """
    leaves, treedef = jtu.tree_flatten((fun, args, kwargs))
    mask = abstract_mask(leaves)
    arrays, others = split(leaves, mask)

    def flat(arrays: list[Any]) -> Any:
        function, positional, named = treedef.unflatten(merge(mask, arrays, others))
        return wrap_static(function(*positional, **named))

    return jax.eval_shape(flat, arrays)
