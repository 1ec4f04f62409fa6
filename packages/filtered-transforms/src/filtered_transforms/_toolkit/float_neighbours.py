"""Floating-point numbers: the default dtype, neighbours, NaN; and broadcasting from the left."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from filtered_transforms._types import PyTree
from tree_surgery.extend import public


def _next(x: Any, towards: float) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"data type {x.dtype} not inexact: its numbers have no neighbours.")
    found = jnp.nextafter(x, jnp.asarray(towards, x.dtype))
    # XLA takes the numbers right beside zero for zero itself; the first normal one it does not.
    tiny = math.copysign(float(jnp.finfo(x.dtype).tiny), towards)
    return jnp.where(x == 0, jnp.asarray(tiny, x.dtype), found)


@public("filtered_transforms.extend")
@jax.custom_jvp
def nextafter(x: ArrayLike) -> jax.Array:
    """The smallest floating-point number greater than `x`; after zero, the smallest normal one.

    **Arguments:**

    - `x`: a floating-point array or number.

    **Returns:** an array of the same shape and dtype. Infinity and NaN stay what they are; the
    largest negative number follows on minus infinity. The derivative is 1.

    **Raises:** `ValueError` for another dtype.

    ```python
    import numpy as np
    from filtered_transforms.extend import nextafter

    assert nextafter(np.float32(1)) == np.nextafter(np.float32(1), np.float32(2))
    ```
    """
    return _next(x, float("inf"))


@public("filtered_transforms.extend")
@jax.custom_jvp
def prevbefore(x: ArrayLike) -> jax.Array:
    """The greatest floating-point number smaller than `x`; before zero, the first normal one.

    **Arguments**, **Returns** and **Raises:** as `nextafter`, the other way.

    ```python
    import numpy as np
    from filtered_transforms.extend import prevbefore

    assert prevbefore(np.float32(1)) == np.nextafter(np.float32(1), np.float32(0))
    ```
    """
    return _next(x, -float("inf"))


@nextafter.defjvp
def _nextafter_jvp(primals: Any, tangents: Any) -> Any:
    return nextafter(*primals), tangents[0]


@prevbefore.defjvp
def _prevbefore_jvp(primals: Any, tangents: Any) -> Any:
    return prevbefore(*primals), tangents[0]


@public("filtered_transforms.extend")
def left_broadcast_to(arr: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    """The array broadcast to a shape whose *first* axes are its own.

    **Arguments:**

    - `arr`: an array of shape `shape[:n]`, or of ones in the place of some of these sizes.
    - `shape`: the shape to get.

    **Returns:** an array of shape `shape`: for `arr` of shape `(n,)` and `shape = (n, m)`, each
    element `m` times in a row.

    **Raises:** `ValueError` if the shapes do not fit.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import left_broadcast_to

    assert left_broadcast_to(jnp.arange(2), (2, 3)).tolist() == [[0, 0, 0], [1, 1, 1]]
    ```
    """
    arr = jnp.asarray(arr)
    return jnp.broadcast_to(arr.reshape(arr.shape + (1,) * (len(shape) - arr.ndim)), shape)


@public("filtered_transforms.extend")
def default_floating_dtype() -> type[np.floating[Any]]:
    """The dtype of floating-point arrays if none is asked for.

    **Returns:** `jax.numpy.float32`, or `jax.numpy.float64` under `jax_enable_x64`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import default_floating_dtype

    assert jnp.zeros(2).dtype == default_floating_dtype()
    ```
    """
    return jnp.float64 if jax.dtypes.canonicalize_dtype(float) == jnp.float64 else jnp.float32


@public("filtered_transforms.extend")
def nan_like(x: PyTree) -> np.ndarray:
    """What a result that means nothing is filled with: NaN, or what comes next to it.

    **Arguments:**

    - `x`: an array.

    **Returns:** a NumPy array of the same shape and dtype: NaN, or the largest integer, or `True`.

    ```python
    import jax.numpy as jnp
    import numpy as np
    from filtered_transforms.extend import nan_like

    assert np.isnan(nan_like(jnp.ones(2))).all()
    assert nan_like(jnp.array(1, jnp.int8)) == 127
    ```
    """
    if jnp.issubdtype(x.dtype, jnp.inexact):
        fill: Any = math.nan
    else:
        fill = True if x.dtype == bool else jnp.iinfo(x.dtype).max
    return np.full(x.shape, fill, x.dtype)
