"""`tree_equal`: equality of whole trees by value."""

import functools as ft
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.typing import ArrayLike

from tree_surgery._jax import Tracer
from tree_surgery._public import public

from .first_difference import Equality, first_difference


@overload
def tree_equal(
    *pytrees: object,
    typematch: bool = False,
    rtol: ArrayLike = 0.0,
    atol: ArrayLike = 0.0,
    explain: Literal[False] = False,
) -> bool | jax.Array: ...
@overload
def tree_equal(
    *pytrees: object,
    typematch: bool = False,
    rtol: ArrayLike = 0.0,
    atol: ArrayLike = 0.0,
    explain: Literal[True],
) -> Equality: ...
@overload
def tree_equal(
    *pytrees: object,
    typematch: bool = False,
    rtol: ArrayLike = 0.0,
    atol: ArrayLike = 0.0,
    explain: bool = False,
) -> bool | jax.Array | Equality: ...
@public
def tree_equal(
    *pytrees: object,
    typematch: bool = False,
    rtol: ArrayLike = 0.0,
    atol: ArrayLike = 0.0,
    explain: bool = False,
) -> bool | jax.Array | Equality:
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
        `abs(x - y) <= atol + rtol * abs(y)`, elementwise, with `x` from the first tree. Everything
        else, Python's floats included, is compared exactly.
    - `explain`: whether to say where the trees begin to differ.

    **Returns:**

    A `bool`; if the answer depends on values that are being traced, a traced boolean of shape `()`.
    All values on accelerators are compared there, and waited for once. With `explain`, a
    [`tree_surgery.Equality`][], which is true if the trees are equal, and else has the `path` of
    the first difference.

    **Raises:**

    `TypeError` if there are no trees. `ValueError` if an answer that depends on traced values is to
    be explained.

    ```python
    import jax.numpy as jnp
    import numpy as np
    from tree_surgery import tree_equal

    assert tree_equal([jnp.arange(3), "relu"], [jnp.arange(3), "relu"])
    assert not tree_equal([jnp.arange(3)], [jnp.arange(3.0)])
    assert tree_equal(np.arange(3, dtype="int32"), jnp.arange(3))
    assert not tree_equal(np.arange(3, dtype="int32"), jnp.arange(3), typematch=True)
    assert tree_equal(jnp.array(1.0), jnp.array(1.001), rtol=1e-2)
    assert tree_equal({"a": [1, 2]}, {"a": [1, 3]}, explain=True).path == "['a'][1]"
    ```
    """
    if not pytrees:
        raise TypeError("`tree_equal` needs at least one tree.")
    first, *others = pytrees
    if explain:
        found = (
            first_difference(first, other, ft.partial(_equal_leaves, typematch, rtol, atol))
            for other in others
        )
        return next((equality for equality in found if not equality), Equality())
    leaves, treedef = jtu.tree_flatten(first)
    kinds: dict[type, int] = {}
    pairs: list[tuple[Any, Any]] = []
    for other in others:
        other_leaves, other_treedef = jtu.tree_flatten(other)
        if treedef != other_treedef:
            return False
        for x, y in zip(leaves, other_leaves, strict=True):
            if not _may_be_equal(x, y, typematch, kinds, pairs):
                return False
    return _all_equal(pairs, kinds, rtol, atol)


def _equal_leaves(typematch: bool, rtol: Any, atol: Any, x: Any, y: Any) -> bool | jax.Array:
    return tree_equal([x], [y], typematch=typematch, rtol=rtol, atol=atol)


_OTHER, _NUMPY, _JAX, _TRACER = range(4)


def _kind(x: Any, kinds: dict[type, int]) -> int:
    """What sort of leaf it is, remembered by type: asking JAX for each leaf would take longest."""
    kind = kinds.get(type(x))
    if kind is None:
        if isinstance(x, jax.Array):
            kind = _TRACER if isinstance(x, Tracer) else _JAX
        else:
            kind = _NUMPY if isinstance(x, np.ndarray | np.generic) else _OTHER
        kinds[type(x)] = kind
    return kind


def _may_be_equal(
    x: Any, y: Any, typematch: bool, kinds: dict[type, int], pairs: list[tuple[Any, Any]]
) -> bool:
    """Whether leaves are equal in all but the values of arrays; these are put in `pairs`."""
    x_kind, y_kind = _kind(x, kinds), _kind(y, kinds)
    if x_kind is _OTHER or y_kind is _OTHER:
        if x_kind is not y_kind or (typematch and type(x) is not type(y)):
            return False
        return bool(x == y)
    if typematch and type(x) is not type(y) and _NUMPY in (x_kind, y_kind):
        return False
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    pairs.append((x, y))
    return True


def _all_equal(
    pairs: list[tuple[Any, Any]], kinds: dict[type, int], rtol: Any, atol: Any
) -> bool | jax.Array:
    traced_tolerance = isinstance(rtol, Tracer) or isinstance(atol, Tracer)
    tolerant = traced_tolerance or bool(rtol != 0) or bool(atol != 0)
    # Where there are only CPUs, and all of them are ours, NumPy sees every array as it is.
    only_here = jax.default_backend() == "cpu" and jax.process_count() == 1
    there: list[tuple[Any, Any]] = []  # traced, or on an accelerator
    for x, y in pairs:
        dtype = x.dtype
        if not isinstance(dtype, np.dtype):  # a typed PRNG key; the dtype has the implementation
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        elif dtype == jax.dtypes.float0:
            continue
        sees = (_kind(z, kinds) <= (_JAX if only_here else _NUMPY) or _is_here(z) for z in (x, y))
        here = not traced_tolerance and (all(sees) or _are_apart(x, y))
        if not here:
            there.append((x, y))
        elif not _equal_here(np.asarray(x), np.asarray(y), tolerant, rtol, atol):
            return False
    if not there:
        return True
    results = [_equal_there(x, y, tolerant, rtol, atol) for x, y in there]
    traced = [r for r in results if isinstance(r, Tracer)]
    known = [r for r in results if not isinstance(r, Tracer)]
    if not all(jax.device_get(known)):
        return False
    return jnp.stack(traced).all() if traced else True


def _is_here(x: Any) -> bool:
    """Whether NumPy can look at the values without waiting for an accelerator."""
    if isinstance(x, Tracer):
        return False
    if not isinstance(x, jax.Array):
        return True
    return x.is_fully_addressable and all(d.platform == "cpu" for d in x.devices())


def _are_apart(x: Any, y: Any) -> bool:
    """Whether JAX would refuse to compute with both, since they are on different devices."""
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        return False
    both = isinstance(x, jax.Array) and isinstance(y, jax.Array)
    return both and x.devices() != y.devices()


def _equal_here(x: Any, y: Any, tolerant: bool, rtol: Any, atol: Any) -> bool:
    same = x == y
    if not tolerant or not jnp.issubdtype(x.dtype, jnp.inexact):
        return bool(same.all())
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    x, y = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore"):
        close = np.abs(x - y) <= float(atol) + float(rtol) * np.abs(y)
    return bool((same | (close & np.isfinite(y))).all())


def _equal_there(x: Any, y: Any, tolerant: bool, rtol: Any, atol: Any) -> Any:
    if tolerant and jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.allclose(x, y, rtol=rtol, atol=atol)
    return jnp.all(jnp.asarray(x) == jnp.asarray(y))
