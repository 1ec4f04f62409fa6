"""`tree_equal`: equality of whole trees by value.

Structures, shapes, dtypes and other leaves are compared first, then the values of arrays: by NumPy
where it can read them, else by JAX on their devices.
"""

from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.typing import ArrayLike

from tree_surgery._jax import Tracer
from tree_surgery._nodes.key_paths import path_str
from tree_surgery._public import public

from .first_difference import Equality, explain_difference, first_difference


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
    tolerance = _Tolerance(rtol, atol)
    if explain:
        equalities = (_explain(first, other, typematch, tolerance) for other in others)
        return next((equality for equality in equalities if not equality), Equality())
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
    return _values_equal(pairs, kinds, tolerance)


class _Tolerance:
    """How far values may differ. Nothing is done with the numbers before there are arrays."""

    __slots__ = ("atol", "rtol")

    def __init__(self, rtol: Any, atol: Any):
        self.rtol = rtol
        self.atol = atol

    def is_traced(self) -> bool:
        return isinstance(self.rtol, Tracer) or isinstance(self.atol, Tracer)

    def is_zero(self) -> bool:
        """Whether values must be equal. A traced tolerance may be anything."""
        return not (self.is_traced() or bool(self.rtol != 0) or bool(self.atol != 0))


def _explain(one: Any, other: Any, typematch: bool, tolerance: _Tolerance) -> Equality:
    traced = False

    def leaves_equal(x: Any, y: Any) -> Any:
        nonlocal traced
        equal = tree_equal([x], [y], typematch=typematch, rtol=tolerance.rtol, atol=tolerance.atol)
        traced = isinstance(equal, Tracer)
        return equal if not traced else False  # stop here: the path is needed for the error

    difference = first_difference(one, other, leaves_equal)
    if traced and difference is not None:
        raise ValueError(
            f"`tree_equal` cannot explain: whether `{path_str(difference.path)}` is equal depends "
            "on values that are being traced. Call it outside of `jax.jit`, or without `explain`."
        )
    return explain_difference(difference)


# Kinds of leaves, ordered by who can read the values: everyone, NumPy, NumPy or JAX, only JAX.
_OTHER, _NUMPY, _JAX, _TRACER = range(4)


def _kind(x: Any, kinds: dict[type, int]) -> int:
    """The kind of a leaf, cached by type: `isinstance(x, jax.Array)` costs more than all else."""
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
    """Whether two leaves are equal in all but the values of arrays. Arrays are added to `pairs`.

    So all shapes and dtypes are compared first, and values only if these agree.
    """
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


def _values_equal(
    pairs: list[tuple[Any, Any]], kinds: dict[type, int], tolerance: _Tolerance
) -> bool | jax.Array:
    """Whether all pairs of arrays have equal values.

    NumPy compares what it can read without a copy from an accelerator, and stops at the first
    difference. JAX compares the rest where it is, and all answers are waited for at once.
    """
    exact, on_host = tolerance.is_zero(), not tolerance.is_traced()
    # If this process has CPUs only and is the only one, NumPy can read every array of JAX.
    readable = _JAX if jax.default_backend() == "cpu" and jax.process_count() == 1 else _NUMPY
    for_jax: list[tuple[Any, Any]] = []
    for x, y in pairs:
        dtype = x.dtype
        if not isinstance(dtype, np.dtype):  # typed keys; the equal dtypes hold the implementation
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        elif dtype == jax.dtypes.float0:  # it has no values
            continue
        if not on_host or not _numpy_compares(x, y, kinds, readable):
            for_jax.append((x, y))
        elif not _equal_by_numpy(np.asarray(x), np.asarray(y), exact, tolerance):
            return False
    return _all_equal_by_jax(for_jax, exact, tolerance) if for_jax else True


def _numpy_compares(x: Any, y: Any, kinds: dict[type, int], readable: int) -> bool:
    """Whether NumPy should compare two arrays: it can read both, or JAX would refuse to."""
    x_here = _kind(x, kinds) <= readable or _is_on_cpu(x)
    y_here = _kind(y, kinds) <= readable or _is_on_cpu(y)
    return (x_here and y_here) or _on_different_devices(x, y)


def _is_on_cpu(x: Any) -> bool:
    """Whether NumPy can read all values without waiting for an accelerator or another process."""
    if isinstance(x, Tracer):
        return False
    if not isinstance(x, jax.Array):
        return True
    return x.is_fully_addressable and all(d.platform == "cpu" for d in x.devices())


def _on_different_devices(x: Any, y: Any) -> bool:
    """Whether JAX would refuse to compute with both arrays."""
    if isinstance(x, Tracer) or isinstance(y, Tracer):
        return False
    both = isinstance(x, jax.Array) and isinstance(y, jax.Array)
    return both and x.devices() != y.devices()


def _equal_by_numpy(x: Any, y: Any, exact: bool, tolerance: _Tolerance) -> bool:
    same = x == y
    if exact or not jnp.issubdtype(x.dtype, jnp.inexact):
        return bool(same.all())
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    x, y = x.astype(wide), y.astype(wide)
    with np.errstate(invalid="ignore"):
        close = np.abs(x - y) <= float(tolerance.atol) + float(tolerance.rtol) * np.abs(y)
    return bool((same | (close & np.isfinite(y))).all())


def _all_equal_by_jax(
    pairs: list[tuple[Any, Any]], exact: bool, tolerance: _Tolerance
) -> bool | jax.Array:
    """The answer for all pairs: known if it can be, else traced."""
    results = [_equal_by_jax(x, y, exact, tolerance) for x, y in pairs]
    traced = [r for r in results if isinstance(r, Tracer)]
    known = [r for r in results if not isinstance(r, Tracer)]
    if not all(jax.device_get(known)):
        return False
    return jnp.stack(traced).all() if traced else True


def _equal_by_jax(x: Any, y: Any, exact: bool, tolerance: _Tolerance) -> Any:
    if not exact and jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.allclose(x, y, rtol=tolerance.rtol, atol=tolerance.atol)
    return jnp.all(jnp.asarray(x) == jnp.asarray(y))
