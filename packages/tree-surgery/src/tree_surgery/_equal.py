"""`tree_equal`: equality of whole trees by value."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def tree_equal(
    *pytrees: Any, typematch: bool = False, rtol: Any = 0.0, atol: Any = 0.0
) -> bool | jax.Array:
    """Trees are equal if their structures are, and each leaf of one equals that of the others.

    Arrays (of JAX or NumPy, NumPy's scalars among them) are equal if shape, dtype and all values
    are; NaN equals nothing. Other leaves are compared by `==`. An array never equals a Python
    number, so that under `jax.jit`, where the numbers among the arguments have become arrays,
    `tree_equal(x, 1)` is false.

    **Arguments:**

    - `pytrees`: any number of trees, at least one. Each is compared with the first.
    - `typematch`: whether the types of leaves must agree too. Without it, a NumPy array may equal
        a JAX array, and `1` equals `1.0` and `True`.
    - `rtol`, `atol`: arrays of real or complex floating point numbers are also equal if
        `abs(x - y) <= atol + rtol * abs(y)`, elementwise, with `x` from the first tree. Everything else,
        Python's floats included, is compared exactly.

    **Returns:**

    A `bool`; if the answer depends on values that are being traced, a traced boolean of shape `()`.
    All values on accelerators are compared there, and waited for once.

    **Raises:**

    `TypeError` if there are no trees.

    ```python
    import jax.numpy as jnp
    import numpy as np
    from tree_surgery import tree_equal

    assert tree_equal([jnp.arange(3), "relu"], [jnp.arange(3), "relu"])
    assert not tree_equal([jnp.arange(3)], [jnp.arange(3.0)])
    assert tree_equal(np.arange(3, dtype="int32"), jnp.arange(3))
    assert not tree_equal(np.arange(3, dtype="int32"), jnp.arange(3), typematch=True)
    assert tree_equal(jnp.array(1.0), jnp.array(1.001), rtol=1e-2)
    ```
    """
    if not pytrees:
        raise TypeError("`tree_equal` needs at least one tree.")
    first, *others = pytrees
    leaves, treedef = jtu.tree_flatten(first)
    pairs: list[tuple[Any, Any]] = []
    for other in others:
        other_leaves, other_treedef = jtu.tree_flatten(other)
        if treedef != other_treedef:
            return False
        if not all(
            map(
                _maybe_equal, leaves, other_leaves, [typematch] * len(leaves), [pairs] * len(leaves)
            )
        ):
            return False
    return _all_equal(pairs, rtol, atol)


def _maybe_equal(x: Any, y: Any, typematch: bool, pairs: list[tuple[Any, Any]]) -> bool:
    """Whether two leaves can be equal, by all but the values of arrays, which are put in `pairs`."""
    x_array = isinstance(x, _ARRAYS)
    if x_array != isinstance(y, _ARRAYS):
        return False
    if typematch and type(x) is not type(y):
        if not (isinstance(x, jax.Array) and isinstance(y, jax.Array)):
            return False
    if not x_array:
        return bool(x == y)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    pairs.append((x, y))
    return True


def _all_equal(pairs: list[tuple[Any, Any]], rtol: Any, atol: Any) -> bool | jax.Array:
    tolerant = isinstance(rtol, jax.Array) or isinstance(atol, jax.Array) or rtol != 0 or atol != 0
    traced_tolerance = isinstance(rtol, jax.core.Tracer) or isinstance(atol, jax.core.Tracer)
    there: list[tuple[Any, Any]] = []  # being traced, or on an accelerator
    for x, y in pairs:
        if x.size == 0 or x.dtype == jax.dtypes.float0:
            continue
        x, y = _plain(x), _plain(y)
        if traced_tolerance or not (_is_here(x) and _is_here(y)):
            there.append((x, y))
        elif not _equal_here(np.asarray(x), np.asarray(y), tolerant, rtol, atol):
            return False
    if not there:
        return True
    results = [_equal_there(x, y, tolerant, rtol, atol) for x, y in there]
    traced = [r for r in results if isinstance(r, jax.core.Tracer)]
    known = [r for r in results if not isinstance(r, jax.core.Tracer)]
    if not all(jax.device_get(known)):
        return False
    return jnp.stack(traced).all() if traced else True


def _plain(x: Any) -> Any:
    """A typed PRNG key is equal to another if its data are (the dtype has the implementation)."""
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(x)
    return x


def _is_here(x: Any) -> bool:
    """Whether NumPy can look at the values without waiting for an accelerator."""
    if not isinstance(x, jax.Array):
        return True
    if isinstance(x, jax.core.Tracer):
        return False
    return x.is_fully_addressable and all(d.platform == "cpu" for d in x.devices())


def _equal_here(x: Any, y: Any, tolerant: bool, rtol: Any, atol: Any) -> bool:
    if tolerant and jnp.issubdtype(x.dtype, jnp.inexact):
        wide = np.complex128 if x.dtype.kind == "c" else np.float64
        x, y = x.astype(wide), y.astype(wide)
        with np.errstate(invalid="ignore"):
            close = np.abs(x - y) <= float(atol) + float(rtol) * np.abs(y)
        return bool(np.all((x == y) | (close & np.isfinite(y))))
    return bool(np.all(x == y))


def _equal_there(x: Any, y: Any, tolerant: bool, rtol: Any, atol: Any) -> Any:
    if tolerant and jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.allclose(x, y, rtol=rtol, atol=atol)
    return jnp.all(jnp.asarray(x) == jnp.asarray(y))
