"""`tree_cast`: casting the arrays of a tree whose dtype is of one kind."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.typing import DTypeLike

from tree_surgery._nodes.arrays import has_dtype
from tree_surgery._public import public
from tree_surgery._select.selectors import SelectorLike, selection_mask
from tree_surgery._types import Tree

_KINDS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)


@public
def tree_cast(tree: Tree, dtype: DTypeLike, where: SelectorLike | None = None) -> Tree:
    """Each array whose dtype is of the kind of `dtype` is cast to it, and nothing else changes.

    The kinds are: booleans, integers, floating and complex numbers. To cast a model to `bfloat16`
    leaves its counters, masks and PRNG keys alone. (To change the kind, there is `tree_apply`.)

    **Arguments:**

    - `tree`: a PyTree. Its arrays are those of JAX and NumPy, and `jax.ShapeDtypeStruct`s.
    - `dtype`: a dtype.
    - `where`: a selector (see [`tree_surgery.where`][]) of what to cast; everything, without.

    **Returns:**

    A new tree. Arrays of NumPy stay arrays of NumPy, and Python's numbers what they are.

    **Raises:**

    `ValueError` if `dtype` is of no such kind, or has 64 bits that `jax_enable_x64` is needed for.
    `WhereError` if a pattern matches nothing.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_cast

    model = {"weight": jnp.ones(2), "norm": jnp.ones(2), "steps": jnp.array(3), "rate": 0.1}
    half = tree_cast(model, jnp.bfloat16, where="weight")
    assert half["weight"].dtype == jnp.bfloat16 and half["norm"].dtype == jnp.float32
    assert tree_cast(model, jnp.bfloat16)["steps"].dtype == jnp.int32
    ```
    """
    kind = next((kind for kind in _KINDS if jnp.issubdtype(dtype, kind)), None)
    if kind is None:
        raise ValueError(f"`tree_cast` casts to numbers and booleans, and `{dtype}` is neither.")
    dtype = jnp.dtype(dtype)
    leaves, treedef = jtu.tree_flatten(tree)
    chosen = [True] * len(leaves) if where is None else selection_mask(where, tree)
    return treedef.unflatten(
        _cast(x, dtype) if hit and has_dtype(x, kind) else x
        for x, hit in zip(leaves, chosen, strict=True)
    )


def _cast(x: Any, dtype: Any) -> Any:
    if x.dtype == dtype:
        return x
    if isinstance(x, jax.ShapeDtypeStruct):
        return x.update(dtype=dtype)
    if isinstance(x, jax.Array) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(f"JAX arrays of dtype {dtype} need `jax_enable_x64`.")
    return x.astype(dtype)
