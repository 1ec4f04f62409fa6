"""What `pickle` and `copy` get to see of a module: functions go by the name where they are found.

Python pickles a function by its name, and copies it as itself. It does neither of what JAX makes of
a function: most of `jax.nn` and `jax.numpy` are results of `jax.jit` and `jax.custom_jvp`, and so
may be a user's. In the state of a module, and in containers within it, each stands behind a
`_Function`. That is read back as the very function, so that what is read is equal to what was
written, and finds the same compiled programs. No table of Python's is changed for that.
"""

import dataclasses
import functools
import inspect
import operator
import pickle
import pkgutil
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import jax
import jax.tree_util as jtu
import numpy as np

from ._bound_method import BoundMethod
from ._construction import UNDER_CONSTRUCTION, info_of
from ._field_checks import dotted, is_module
from ._functions_by_name import name_of, picklers_carry_functions, wraps_function
from ._irregular_instances import BY_VALUE
from ._value_equality import ByValue, same_value

_Path = tuple[Any, ...]

_WITH_PARTS = (functools.partial, list, tuple, set, frozenset, dict, ByValue)  # and dataclasses

_NUMBERS = (bool, int, float, complex, str, bytes, type(None), np.dtype)  # and the like
_ATOMS = frozenset({*_NUMBERS, np.ndarray})


@dataclasses.dataclass(frozen=True, eq=False)
class _Function:
    # Stands for a function in the state of a module while that is pickled or copied.

    function: Any
    name: tuple[str, str] | None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.name is None:
            return operator.itemgetter(0), ((self.function,),)
        return pkgutil.resolve_name, (":".join(self.name),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.function


class _Reduced:
    # Stands for an object that is pickled and copied by its parts, some of which are `_Function`s.

    def __init__(self, parts: tuple[Any, ...]):
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        made, args, state, items, pairs = self.parts
        return (
            made,
            args,
            state,
            None if items is None else iter(items),
            None if pairs is None else iter(pairs.items()),
        )


class OwnWay:
    """What a class says by a `__reduce__` of its own, for `copy.copy` and `copy.deepcopy`."""

    def __init__(self, reduced: tuple[Any, ...]):
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def own_way(module: Any) -> OwnWay | None:
    """`OwnWay` of a module, where its class has a `__reduce__` of its own that makes another."""
    if type(module).__reduce__ is object.__reduce__:
        return None
    reduced = module.__reduce__()
    return None if isinstance(reduced, str) else OwnWay(reduced)


def carried_name(module: Any) -> tuple[Any, ...] | None:
    """How a module that is found by a name is read back, as `__reduce__` says it; else `None`.

    That is what a decorator, `filter_jit` say, has made of a function that stands in a module. In a
    model it is a copy as soon as that has gone through a tree map, so here an equal one will do.
    """
    name = name_of(module, _is_equal)
    if name is None or (name[0] == "__main__" and picklers_carry_functions()):
        return None
    return pkgutil.resolve_name, (":".join(name),)


def _is_equal(found: Any, module: Any) -> bool:
    return type(found) is type(module) and same_value(found, module)


def carried_state(module: Any, getstate: Any) -> dict[str, Any]:
    """The state of a module for a pickler. `getstate` is the method that makes it of any module.

    **Raises:** `pickle.PicklingError`, with the path of a function that is found under no name,
    unless the pickler can do without.
    """
    carrier = _Carrier(type(module), picklers_carry_functions(), getstate)
    return carrier.state(module, (), frozenset({id(module)}))


def carried_values(module: Any, values: dict[str, Any]) -> dict[str, Any]:
    """As `carried_state`, of a module that is made of these values again."""
    carrier = _Carrier(type(module), picklers_carry_functions(), None)
    return carrier.attributes(values, (), frozenset())


def copied_state(module: Any) -> dict[str, Any]:
    """The state of a module for `copy.deepcopy`, which leaves functions as they are."""
    return _Carrier(None, True, None).state(module, (), frozenset({id(module)}))


@dataclasses.dataclass(frozen=True)
class _Carrier:
    owner: type | None  # of which paths begin; `None` for a copy, where every function will do
    carries_functions: bool
    getstate: Any

    def state(self, module: Any, path: _Path, seen: frozenset[int]) -> dict[str, Any]:
        cls: Any = type(module)
        names = info_of(cls).names
        fields = {
            name: value
            for name, value in vars(module).items()
            if name in names or _is_kept(cls, name)
        }
        return self.attributes(fields, path, seen)

    def attributes(self, values: dict[str, Any], path: _Path, seen: frozenset[int]) -> Any:
        return self._dict(values, path, seen, jtu.GetAttrKey)

    def _dict(self, values: dict[Any, Any], path: _Path, seen: frozenset[int], key: Any) -> Any:
        parts = {
            k: v if type(v) in _ATOMS else self.carry(v, (*path, key(k)), seen)
            for k, v in values.items()
        }
        return parts if _differ(parts.values(), values.values()) else values

    def carry(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        """`value` itself, or what stands for it."""
        kind = type(value)
        if kind in _ATOMS or isinstance(value, (jax.Array, type)) or id(value) in seen:
            return value
        seen = seen | {id(value)}
        if is_module(value):
            self._look_into(value, path, seen)
            return value
        if isinstance(value, BoundMethod):
            self.carry(value.__self__, (*path, jtu.GetAttrKey("__self__")), seen)
            return value
        if kind in (list, tuple, set, frozenset):
            parts = [self.carry(x, (*path, jtu.SequenceKey(i)), seen) for i, x in enumerate(value)]
            return kind(parts) if _differ(parts, value) else value
        if kind is dict:
            return self._dict(value, path, seen, jtu.DictKey)
        if kind is jtu.PyTreeDef:
            return self._treedef(value, path, seen)
        if self.owner is None and kind is functools.partial and _is_fixed(value):
            return _Function(value, None)  # equal to itself alone, and with nothing to copy
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            fields = dict(zip(cast(Any, kind)._fields, value, strict=True))
            parts = self.attributes(fields, path, seen)
            made = (cast(Any, kind)._make, (tuple(parts.values()),), None, None, None)
            return value if parts is fields else _Reduced(made)
        if isinstance(value, functools.partial):  # here for the paths of errors
            for name in ("func", "args", "keywords"):
                self.carry(getattr(value, name), (*path, jtu.GetAttrKey(name)), seen)
        if isinstance(value, _WITH_PARTS) or dataclasses.is_dataclass(value):
            return self._reduced(value, path, seen)
        return self._function(value, path) if callable(value) else value

    def _look_into(self, module: Any, path: _Path, seen: frozenset[int]) -> None:
        # It is pickled after this one, by itself. But only from here is its whole path known.
        cls: Any = type(module)
        plain = cls.__reduce__ is object.__reduce__ and cls.__getstate__ is self.getstate
        if plain and not self.carries_functions and carried_name(module) is None:
            self.state(module, path, seen)

    def _treedef(self, treedef: Any, path: _Path, seen: frozenset[int]) -> Any:
        # JAX pickles it with the static parts of its nodes as they are. A tree carries its own.
        try:
            tree = treedef.unflatten([0] * treedef.num_leaves)
            if jtu.tree_structure(tree) != treedef:
                return treedef
        except Exception:  # a node that will not have just any child
            return treedef
        return _Reduced((jtu.tree_structure, (self.carry(tree, path, seen),), None, None, None))

    def _reduced(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # the pickler will say so
            return value
        if not isinstance(parts, tuple) or len(parts) > 5:
            return value
        made, args, state, items, pairs = (*parts, *[None] * (5 - len(parts)))
        whole = (args, state, items and list(items), pairs and dict(pairs))
        carried = [
            self.attributes(part, path, seen)
            if part is state and type(part) is dict
            else self.carry(part, path, seen)
            for part in whole
        ]
        if not _differ(carried, whole):
            return value
        args, *others = carried
        return _Reduced((operator.call, (made, *args), *others))

    def _function(self, value: Any, path: _Path) -> Any:
        name, plain = name_of(value), type(value) is FunctionType
        if name is not None and name[0] == "__main__" and self.carries_functions:
            name = None
        if name is not None:
            own = plain and name == (value.__module__, value.__qualname__)
            return value if own else _Function(value, name)
        if not plain and not wraps_function(value):
            return value
        if not self.carries_functions and name_of(inspect.unwrap(value)) is None:
            raise pickle.PicklingError(
                f"`{dotted(cast(type, self.owner), path)}` holds {value!r}, a function that is "
                f"found under no name, so it cannot be pickled. Define it by `def` in a module, "
                f"outside of other functions; or use cloudpickle, which writes functions down."
            )
        return _Function(value, None)


def _differ(parts: Iterable[Any], whole: Iterable[Any]) -> bool:
    return any(part is not value for part, value in zip(parts, whole, strict=True))


def _is_fixed(partial: "functools.partial[Any]") -> bool:
    bound = (partial.func, *partial.args, *partial.keywords.values())
    return all(
        isinstance(x, (FunctionType, BuiltinFunctionType, type, *_NUMBERS)) or wraps_function(x)
        for x in bound
    )


def _is_kept(cls: type, name: str) -> bool:
    cached = isinstance(getattr(cls, name, None), functools.cached_property)
    return name not in (UNDER_CONSTRUCTION, BY_VALUE) and not cached
