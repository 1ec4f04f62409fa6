"""Pickling and copying of modules: functions in them are pickled by name.

Python pickles a function by its name, and copies it by reference. It does neither for JAX's
wrappers of functions: most of `jax.nn` and `jax.numpy` are results of `jax.jit` and
`jax.custom_jvp`, and a user's activation may be one. So a `_Function` replaces each function in the
state of a module, and in containers there. It unpickles as the same function. Then the unpickled
module equals the pickled one, and finds the same compiled programs. No table of `pickle`,
`copyreg` or `copy` is changed for that.
"""

import dataclasses
import functools
import inspect
import operator
import pickle
import pkgutil
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import jax
import jax.tree_util as jtu
import numpy as np

from ._bound_method import BoundMethod
from ._construction import UNDER_CONSTRUCTION, class_info_of
from ._field_checks import dotted_path, is_module
from ._functions_by_name import name_of, pickler_writes_functions, wraps_function
from ._irregular_instances import BOXES
from ._value_equality import ByValue, same_tree

_Path = tuple[Any, ...]

_WITH_PARTS = (functools.partial, list, tuple, set, frozenset, dict, ByValue)  # and dataclasses

_NUMBERS = (bool, int, float, complex, str, bytes, type(None), np.dtype)  # and the like
_ATOMS = frozenset({*_NUMBERS, np.ndarray})


@dataclasses.dataclass(frozen=True, eq=False)
class _Function:
    """Replaces a function in the state of a module that is pickled or copied."""

    function: Any
    name: tuple[str, str] | None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.name is None:
            return operator.itemgetter(0), ((self.function,),)
        return pkgutil.resolve_name, (":".join(self.name),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.function


class _Reduced:
    """Replaces an object by the parts of its `__reduce_ex__`, some of which hold a `_Function`."""

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


class OwnReduction:
    """The result of a user-defined `__reduce__`, as an object that `copy` accepts."""

    def __init__(self, reduced: tuple[Any, ...]):
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def own_reduction(module: Any) -> OwnReduction | None:
    """The `OwnReduction` of a module whose class defines `__reduce__`; else `None`.

    It is also `None` if that `__reduce__` returns a name.
    """
    if type(module).__reduce__ is object.__reduce__:
        return None
    reduced = module.__reduce__()
    return None if isinstance(reduced, str) else OwnReduction(reduced)


def reduction_to_name(module: Any) -> tuple[Any, ...] | None:
    """The result of `__reduce__` for a module that can be imported by name; else `None`.

    Such a module is the result of a decorator, such as `filter_jit`, on a function of a Python
    module. After a tree map, a model holds a copy of it, so equality suffices here.
    """
    name = name_of(module, _is_equal)
    if name is None or (name[0] == "__main__" and pickler_writes_functions()):
        return None
    return pkgutil.resolve_name, (":".join(name),)


def _is_equal(found: Any, module: Any) -> bool:
    return type(found) is type(module) and same_tree(found, module)


def picklable_state(module: Any, getstate: Any) -> dict[str, Any]:
    """The state of a module for a pickler. `getstate` is `Module.__getstate__`.

    **Raises:** `pickle.PicklingError`, with the path of a function that cannot be imported by
    name, unless the pickler writes functions by value.
    """
    replacer = _FunctionReplacer(type(module), pickler_writes_functions(), getstate)
    return replacer.replace_in_state(module, (), frozenset({id(module)}))


def picklable_values(module: Any, values: dict[str, Any]) -> dict[str, Any]:
    """As `picklable_state`, for a module that is rebuilt from these values."""
    replacer = _FunctionReplacer(type(module), pickler_writes_functions(), None)
    return replacer.replace_in_attributes(values, (), frozenset())


def copyable_state(module: Any) -> dict[str, Any]:
    """The state of a module for `copy.deepcopy`, which copies functions by reference."""
    replacer = _FunctionReplacer(None, True, None)
    return replacer.replace_in_state(module, (), frozenset({id(module)}))


@dataclasses.dataclass(frozen=True)
class _FunctionReplacer:
    """Replaces each function in a value by a `_Function`.

    A value without functions is returned itself, not as a copy: a pickler writes each object once,
    by identity, and would write the copy a second time.
    """

    owner: type | None
    """Where the paths in errors begin; `None` for a copy, which accepts every function."""

    writes_functions: bool
    """Whether the pickler can write a function that cannot be imported by name."""

    getstate: Any

    def replace_in_state(self, module: Any, path: _Path, seen: frozenset[int]) -> dict[str, Any]:
        cls: Any = type(module)
        names = class_info_of(cls).names
        fields = {
            name: value
            for name, value in vars(module).items()
            if name in names or _is_kept(cls, name)
        }
        return self.replace_in_attributes(fields, path, seen)

    def replace_in_attributes(
        self, values: dict[str, Any], path: _Path, seen: frozenset[int]
    ) -> Any:
        return self.in_dict(values, path, seen, jtu.GetAttrKey)

    def replace(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        """`value` itself, or its replacement. `seen`: the ids of the objects that contain it."""
        kind = type(value)
        if kind in _ATOMS or isinstance(value, (jax.Array, type)) or id(value) in seen:
            return value
        seen = seen | {id(value)}
        in_container = _IN_CONTAINER.get(kind)
        if in_container is not None:
            return in_container(self, value, path, seen)
        if is_module(value):
            self._check_module(value, path, seen)
            return value
        if isinstance(value, BoundMethod):
            self.replace(value.__self__, (*path, jtu.GetAttrKey("__self__")), seen)
            return value
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self._in_named_tuple(value, path, seen)
        if isinstance(value, functools.partial):
            return self._in_partial(value, path, seen)
        if _has_parts(value):
            return self._in_parts(value, path, seen)
        return self._of_function(value, path) if callable(value) else value

    def in_dict(
        self, values: dict[Any, Any], path: _Path, seen: frozenset[int], key: Any = jtu.DictKey
    ) -> Any:
        parts = {
            k: v if type(v) in _ATOMS else self.replace(v, (*path, key(k)), seen)
            for k, v in values.items()
        }
        return parts if _differ(parts.values(), values.values()) else values

    def in_sequence(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        parts = [self.replace(x, (*path, jtu.SequenceKey(i)), seen) for i, x in enumerate(value)]
        return type(value)(parts) if _differ(parts, value) else value

    def _in_named_tuple(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        fields = dict(zip(value._fields, value, strict=True))
        parts = self.replace_in_attributes(fields, path, seen)
        if parts is fields:
            return value
        return _Reduced((type(value)._make, (tuple(parts.values()),), None, None, None))

    def _in_partial(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        if self.owner is None and type(value) is functools.partial and _is_fixed(value):
            return _Function(value, None)  # compared by identity, and with nothing to copy
        for name in ("func", "args", "keywords"):  # so that errors name these in their paths
            self.replace(getattr(value, name), (*path, jtu.GetAttrKey(name)), seen)
        return self._in_parts(value, path, seen)

    def _check_module(self, module: Any, path: _Path, seen: frozenset[int]) -> None:
        """Raises for a function in `module` that cannot be pickled.

        The pickler visits `module` later, on its own. Only here is its whole path known.
        """
        cls: Any = type(module)
        plain = cls.__reduce__ is object.__reduce__ and cls.__getstate__ is self.getstate
        if plain and not self.writes_functions and reduction_to_name(module) is None:
            self.replace_in_state(module, path, seen)

    def in_treedef(self, treedef: Any, path: _Path, seen: frozenset[int]) -> Any:
        # JAX pickles a treedef with the static parts of its nodes as they are. So it is replaced by
        # a tree of that structure, in which functions are replaced.
        try:
            tree = treedef.unflatten([0] * treedef.num_leaves)
            if jtu.tree_structure(tree) != treedef:
                return treedef
        except Exception:  # a node that does not accept arbitrary children
            return treedef
        parts = (self.replace(tree, path, seen),)
        return _Reduced((jtu.tree_structure, parts, None, None, None))

    def _in_parts(self, value: Any, path: _Path, seen: frozenset[int]) -> Any:
        """Replace functions in the parts that `__reduce_ex__` returns."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # the pickler raises it again
            return value
        if not isinstance(parts, tuple) or len(parts) > 5:
            return value
        made, args, state, items, pairs = (*parts, *[None] * (5 - len(parts)))
        whole = (args, state, items and list(items), pairs and dict(pairs))
        replaced = [
            self.replace_in_attributes(part, path, seen)
            if part is state and type(part) is dict
            else self.replace(part, path, seen)
            for part in whole
        ]
        if not _differ(replaced, whole):
            return value
        args, *others = replaced
        return _Reduced((operator.call, (made, *args), *others))

    def _of_function(self, value: Any, path: _Path) -> Any:
        name, plain = name_of(value), type(value) is FunctionType
        if name is not None and name[0] == "__main__" and self.writes_functions:
            name = None
        if name is not None:
            own = plain and name == (value.__module__, value.__qualname__)
            return value if own else _Function(value, name)
        if not plain and not wraps_function(value):
            return value
        if not self.writes_functions and name_of(inspect.unwrap(value)) is None:
            where = dotted_path(cast(type, self.owner), path)
            raise pickle.PicklingError(
                f"`{where}` holds {value!r}, a function that is found under no name, so it cannot "
                f"be pickled. Define it by `def` in a module, outside of other functions; or use "
                f"cloudpickle, which writes functions down."
            )
        return _Function(value, None)


# For exactly these types. An object of a subclass is rebuilt by its own `__reduce_ex__`.
_IN_CONTAINER: dict[type, Callable[..., Any]] = {
    **dict.fromkeys((list, tuple, set, frozenset), _FunctionReplacer.in_sequence),
    dict: _FunctionReplacer.in_dict,
    jtu.PyTreeDef: _FunctionReplacer.in_treedef,
}


def _has_parts(value: Any) -> bool:
    return isinstance(value, _WITH_PARTS) or dataclasses.is_dataclass(value)


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
    return name not in (UNDER_CONSTRUCTION, BOXES) and not cached
