"""Trees compared and hashed by value, so that JAX can look things up: a `bool`, never an error.

Two values are the same if a program that is compiled with the one serves for the other. Python's
`==` is wider: it takes `1`, `1.0` and `True` for equal, `0.0` and `-0.0` too, alone and within
tuples; and narrower: one NaN is not equal to another.
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
    """Whether two arrays are one and the same constant to the code that is compiled with them.

    So bits count (`0.0` and `-0.0` differ), and so do weak types and devices. NumPy compares: JAX
    would trace the comparison under `jax.jit`.
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
    return bool(key_of(x) == key_of(y))


def key_of(value: Any) -> Any:
    """What is equal, and has the same hash, for the same static values alone."""
    kind = type(value)
    if isinstance(value, _INEXACT):
        return kind, repr(value)
    if kind.__eq__ is tuple.__eq__:
        return (kind, *map(key_of, value))
    if kind.__eq__ is frozenset.__eq__:
        return kind, frozenset(map(key_of, value))
    if _is_record(value):
        compared = (field.name for field in dataclasses.fields(value) if field.compare)
        return (kind, *(key_of(getattr(value, name)) for name in compared))
    return kind, value


_INEXACT = (float, complex, np.inexact)


def _is_record(value: Any) -> bool:
    """Whether `value` is an instance of a frozen dataclass, which is what its fields are."""
    params = getattr(type(value), "__dataclass_params__", None)
    return params is not None and params.eq and params.frozen


# Of these `==` tells apart all that differs, also within a tuple: no other type equals them, but
# numbers, which are looked at themselves.
_PLAIN = frozenset({int, str, bytes, NoneType, type, FunctionType, BuiltinFunctionType})


def is_apart(value: Any, home: type | None) -> bool:
    """Whether `==` tells `value` from all that its field may hold, for a quick look.

    - `home`: the type that the field is annotated with. If there is none, the type of what it holds
        is compared as well.

    **Returns:** `False` also where only `is_wide` can tell.
    """
    kind = type(value)
    if kind is float and (home is None or home is float):
        return (value != 0 and value == value) or repr(value) == "0.0"
    if kind is home or kind is bool:
        return home is None or kind is home
    if kind is tuple:
        return all(type(element) in _PLAIN for element in value)
    return kind in _PLAIN and (kind is not int or home is None)


def is_wide(value: Any, home: type | None) -> bool:
    """Whether `==` takes `value` for equal to what it is not, or unequal to what it is."""
    if is_apart(value, home):
        return False
    if home is not None and not isinstance(value, (tuple, frozenset)):
        return True
    if isinstance(value, numbers.Number):
        return isinstance(value, _INEXACT)
    return _holds_numbers(value)


def _holds_numbers(value: Any) -> bool:
    if type(value).__eq__ in (tuple.__eq__, frozenset.__eq__):
        elements = value
    elif _is_record(value):
        elements = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        return False
    return any(
        type(element) not in _PLAIN
        and (isinstance(element, numbers.Number) or _holds_numbers(element))
        for element in elements
    )


def same_value(x: Any, y: Any) -> bool:
    """Whether two trees have one structure and equal leaves. A traced leaf equals itself alone."""
    if x is y:
        return True
    x_leaves, x_treedef = jtu.tree_flatten(x)
    y_leaves, y_treedef = jtu.tree_flatten(y)
    return x_treedef == y_treedef and all(map(_same_leaf, x_leaves, y_leaves))


def _leaf_hash(leaf: Any) -> int:
    if isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        return hash(leaf.shape)
    try:
        return hash(key_of(leaf))
    except TypeError:
        return hash(type(leaf))


def value_hash(tree: Any) -> int:
    """A hash that agrees with `same_value`: of arrays only the shape counts."""
    leaves, treedef = jtu.tree_flatten(tree)
    return hash((treedef, *map(_leaf_hash, leaves)))


class ByValue:
    """A box that makes any PyTree usable as the static data of a treedef."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByValue) and same_value(self.value, other.value)

    def __hash__(self) -> int:
        return value_hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


class Keyed(ByValue):
    """As `ByValue`, of a value that has a hash and so never changes: it is looked at once."""

    __slots__ = ("hash", "key")

    def __init__(self, value: Any):
        super().__init__(value)
        self.key = key_of(value)
        self.hash = hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return self.hash
