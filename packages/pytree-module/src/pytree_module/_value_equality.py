"""Equality and hash of trees and of static values, as JAX needs them to look up its caches.

The answer is a `bool`, never an error. Two values are the same if a program that is compiled for
one is correct for the other. Python's `==` differs from this in two ways. It treats `1`, `1.0` and
`True` as equal, and `0.0` and `-0.0`, also inside tuples. And a NaN is not equal to itself.
"""

import dataclasses
import numbers
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from ._jax import Tracer


def _bits(x: Any) -> bytes:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():
            x = jax.random.key_data(x)
    return np.asarray(x).tobytes()


def _same_array(x: Any, y: Any) -> bool:
    """Whether two arrays are the same constant for a compiled program.

    So bits count (`0.0` and `-0.0` differ), and so do weak types and devices. NumPy compares them:
    JAX would trace the comparison under `jax.jit`.
    """
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if isinstance(x, jax.Array):
        if not (x.is_fully_addressable and y.is_fully_addressable):
            return False
        if x.aval.weak_type != y.aval.weak_type or x.devices() != y.devices():
            return False
    elif x.dtype.hasobject:
        return bool(np.all(x == y))
    return _bits(x) == _bits(y)


def _same_leaf(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if type(x) is not type(y) or isinstance(x, Tracer):
        return False
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        return _same_array(x, y)
    return bool(comparison_key(x) == comparison_key(y))


def comparison_key(value: Any) -> Any:
    """A key that is equal, with an equal hash, for the same static values and for no others."""
    kind = type(value)
    if isinstance(value, _INEXACT):
        return kind, repr(value)
    if kind.__eq__ is tuple.__eq__:
        return (kind, *map(comparison_key, value))
    if kind.__eq__ is frozenset.__eq__:
        return kind, frozenset(map(comparison_key, value))
    if _is_frozen_dataclass(value):
        compared = (field.name for field in dataclasses.fields(value) if field.compare)
        return (kind, *(comparison_key(getattr(value, name)) for name in compared))
    return kind, value


_INEXACT = (float, complex, np.inexact)


def _is_frozen_dataclass(value: Any) -> bool:
    """Whether `value` is an instance of a frozen dataclass, which is compared by its fields."""
    params = getattr(type(value), "__dataclass_params__", None)
    return params is not None and params.eq and params.frozen


# Types whose values do not equal values of other types, also inside tuples. `int` is here for
# tuples only: `1 == 1.0 == True`, and a field may hold any of these.
_EXACT = frozenset({int, str, bytes, NoneType, type, FunctionType, BuiltinFunctionType})


def compares_exactly(value: Any, annotated: type | None) -> bool:
    """Whether `==` distinguishes `value` from all other values of its static field: a fast test.

    Construction calls it for each static field, so it does as little as possible.

    - `annotated`: the annotated type of the field, if it is a plain one. If it is `None`, the
        treedef contains the type of the value as well.

    **Returns:** `True` only if so. `False` is inconclusive: then `needs_key` decides.
    """
    kind = type(value)
    if kind is annotated:
        return kind is not float or _is_exact_float(value)
    if kind is bool:
        return annotated is None
    if kind is tuple:
        return all(type(element) in _EXACT for element in value)
    if kind is float:
        return annotated is None and _is_exact_float(value)
    return kind in _EXACT and (kind is not int or annotated is None)


def _is_exact_float(value: float) -> bool:
    """False for -0.0, which equals 0.0, and for NaN, which does not equal itself."""
    return (value != 0 and value == value) or repr(value) == "0.0"


def needs_key(value: Any, annotated: type | None) -> bool:
    """Whether `==` may treat `value` as equal to a different value, or as unequal to itself.

    Such a value is compared by its `comparison_key`. `annotated`: as for `compares_exactly`.
    """
    if compares_exactly(value, annotated):
        return False
    if annotated is not None and not isinstance(value, (tuple, frozenset)):
        return True
    if isinstance(value, numbers.Number):
        return isinstance(value, _INEXACT)
    return _holds_numbers(value)


def _holds_numbers(value: Any) -> bool:
    """Whether a tuple, frozenset or frozen dataclass holds a number that is not an `int`."""
    if type(value).__eq__ in (tuple.__eq__, frozenset.__eq__):
        elements = value
    elif _is_frozen_dataclass(value):
        elements = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        return False
    return any(
        type(element) not in _EXACT
        and (isinstance(element, numbers.Number) or _holds_numbers(element))
        for element in elements
    )


def same_tree(x: Any, y: Any) -> bool:
    """Whether two trees have the same structure and leaves. Tracers are compared by identity."""
    if x is y:
        return True
    x_leaves, x_treedef = jtu.tree_flatten(x)
    y_leaves, y_treedef = jtu.tree_flatten(y)
    return x_treedef == y_treedef and all(map(_same_leaf, x_leaves, y_leaves))


def _leaf_hash(leaf: Any) -> int:
    if isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        return hash(leaf.shape)
    try:
        return hash(comparison_key(leaf))
    except TypeError:
        return hash(type(leaf))


def value_hash(tree: Any) -> int:
    """A hash that agrees with `same_tree`. It uses only the shapes of arrays."""
    leaves, treedef = jtu.tree_flatten(tree)
    return hash((treedef, *map(_leaf_hash, leaves)))


class ByValue:
    """Static data of a treedef that is compared by value: any PyTree, arrays included."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue) and same_tree(self.value, other.value)

    def __hash__(self) -> int:
        return value_hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


class ByKey(ByValue):
    """Static data that is compared by `comparison_key`, which is computed once.

    Only for hashable values, which do not change.
    """

    __slots__ = ("hash", "key")

    def __init__(self, value: Any):
        super().__init__(value)
        self.key = comparison_key(value)
        self.hash = hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByKey) and self.key == other.key

    def __hash__(self) -> int:
        return self.hash
