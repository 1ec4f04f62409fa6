"""`Module`: a class whose instances are frozen dataclasses and PyTrees."""

from __future__ import annotations

import copy
import dataclasses
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, get_origin

import jax
import jax.tree_util as jtu
import numpy as np

import tree_surgery
from tree_surgery.extend import public

from ._bare_instance import bare_instance, set_by_descriptor
from ._bound_method import BoundMethod
from ._construction import UNDER_CONSTRUCTION, finish_from_fields, replaced
from ._field_checks import dotted_path, find_cycle, refuse_cycle
from ._flatten_codegen import expect_irregular
from ._irregular_instances import WRAPPER_NAMES
from ._metaclass import ModuleMeta
from ._pickling import copyable_state, own_reduction, picklable_state, reduction_to_name
from ._treescope import render


@public
class Module(metaclass=ModuleMeta):
    """Base class: every subclass is a frozen dataclass, and every instance a PyTree.

    Annotate the fields in the class body. Fields are the children of the tree, in order, with key
    paths (`jax.tree_util.GetAttrKey`); a `field(static=True)` is part of its structure instead.
    Without an `__init__` one is generated from the fields; with one, it has to set every field
    that has no default.

    An instance is made in this order, whoever wrote `__init__`: `__init__` (a generated one calls
    `__post_init__`); defaults for fields left unset; the converters of the fields, each once; the
    instance is frozen; every `__check_init__` of the MRO, that of the class itself first.

    Methods read from an instance are PyTrees as well, with the instance as their child, so
    `jax.vmap(module.method)` or `filter_jit(module.method)` traces its parameters. Equality is by
    type, structure and value, arrays included, and is traced under `jax.jit`. An instance has a
    hash if all of its leaves have.

    Each call of a module is a `jax.named_scope`, the name of its class, so that profiles and
    compiled programs read by layer; the class attribute `__scope__` says another, or `None`. A
    class with a `__wrapped__`, which only wraps another callable, has none.

    **Arguments:** those of the class itself; and for the class statement

    - `frozen`: `True`, for type checkers: they then refuse to assign to fields anywhere, which a
        class with an own `__init__` cannot use. When the program runs, every instance is frozen.
    - `init`: `False` if the class inherits its `__init__`, for type checkers: they take each class
        without an `__init__` for one that gets it from the fields. When the program runs, a class
        inherits an `__init__` that is written in a base class anyway.
    - `strict`: `StrictConfig()` holds the class to the abstract-or-final pattern when it is
        defined: its bases are strict and abstract, abstract classes are called `Abstract...` or
        `_Abstract...`, nothing concrete is overridden, and fields and `__init__` stand in one
        class. `StrictConfig(force_abstract=True)` makes a class abstract that leaves nothing open.
        `True` and `False` are accepted and ask for nothing.

    **Raises:**

    - `TypeError`, when a class is defined: an abstract attribute with a value, or a strict class
        against the rules.
    - `TypeError`, when an instance is made: a class with open abstract attributes or methods, a
        field that was not initialised, a JAX array in a static field.
    - `ValueError`: a mutable default; a field that leads back to the instance itself.
    - `dataclasses.FrozenInstanceError`: assigning to an attribute of an instance that exists, or
        to one that is no field in `__init__`.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from pytree_module import Module

        class Linear(Module):
            weight: jax.Array
            bias: jax.Array

            def __init__(self, in_size: int, out_size: int, key: jax.Array):
                weight_key, bias_key = jax.random.split(key)
                self.weight = jax.random.normal(weight_key, (out_size, in_size))
                self.bias = jax.random.normal(bias_key, (out_size,))

            def __call__(self, x: jax.Array) -> jax.Array:
                return self.weight @ x + self.bias

        linear = Linear(3, 2, jax.random.key(0))
        y = jax.jit(lambda model, x: jax.vmap(model)(x))(linear, jnp.ones((5, 3)))
        assert y.shape == (5, 2)
        ```
    """

    if not TYPE_CHECKING:  # which would then let any attribute be set

        def __setattr__(self, name: str, value: object) -> None:
            values: dict[str, Any] = vars(self)
            names = values.get(UNDER_CONSTRUCTION)
            if names is None or name not in names:
                _set_other(self, names, name, value)
            elif value is self:
                refuse_cycle(type(self), name, through_method=False)
            elif type(value) is BoundMethod and value.__self__ is self:
                refuse_cycle(type(self), name, through_method=True)
            else:
                values[name] = value

        def __delattr__(self, name: str) -> None:
            values: dict[str, Any] = vars(self)
            if name in values and UNDER_CONSTRUCTION in values:
                del values[name]
                return
            raise dataclasses.FrozenInstanceError(
                f"cannot delete field {name!r} of `{type(self).__qualname__}`: modules are "
                "immutable."
            )

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        # What a decorator made of a function is found by the name of that, as a function is.
        return reduction_to_name(self) or super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        return picklable_state(self, Module.__getstate__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        finish_from_fields(self, required=False)
        find_cycle(type(self), self, vars(self))

    def __copy__(self) -> Self:
        own: Any = own_reduction(self)
        if own is not None:
            return copy.copy(own)
        new = bare_instance(type(self))
        vars(new).update(vars(self))
        vars(new).pop(UNDER_CONSTRUCTION, None)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if reduction_to_name(self) is not None:
            return self
        own: Any = own_reduction(self)
        if own is not None:
            return copy.deepcopy(own, memo)
        new = memo[id(self)] = bare_instance(type(self))
        vars(new).update(copy.deepcopy(copyable_state(self), memo))
        finish_from_fields(new, required=False)
        return new

    def __tree_replace__(self, fields: dict[str, Any]) -> Self:
        # `tree_surgery.tree_replace`, `tree_set` and `tree_apply` come here.
        return replaced(self, fields)

    # Returns a tracer if leaves are traced, where `object.__eq__` returns a `bool`.
    def __eq__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: object, /
    ) -> bool | jax.Array:
        if type(self) is not type(other):
            return NotImplemented
        return tree_surgery.tree_equal(self, other)

    def __hash__(self) -> int:
        leaves, treedef = jtu.tree_flatten(self)
        try:
            return hash((type(self), treedef, *leaves))
        except TypeError:
            raise _unhashable(self) from None

    @reprlib.recursive_repr("<recursive>")  # A static field or a function may lead back here.
    def __repr__(self) -> str:
        return tree_surgery.tree_pformat(self)

    def __treescope_repr__(self, path: str | None, subtree_renderer: Callable[..., Any]) -> object:
        return render(self, path, subtree_renderer)


def _unhashable(module: Module) -> TypeError:
    for path, leaf in jtu.tree_leaves_with_path(module):
        try:
            hash(leaf)
        except TypeError:
            where = dotted_path(type(module), path)
            return TypeError(
                f"unhashable type: '{type(leaf).__name__}'. A module has a hash only if all of its "
                f"leaves have, and `{where}` has none. To use a module with arrays in `jax.jit`, "
                f"pass it as an argument that is not static, or write `jax.jit(module.__call__)`, "
                f"which makes its arrays constants."
            )
    return TypeError(f"unhashable static value in a {type(module).__qualname__}.")


def _annotation(value: Any) -> str:
    """The annotation to suggest for a field that holds `value`."""
    if isinstance(value, jax.Array):
        return "jax.Array"
    if isinstance(value, np.ndarray):
        return "np.ndarray"
    if value is None:
        return "Any"
    if callable(value) and not isinstance(value, (type, Module)):
        return "Callable"
    return type(value).__qualname__


def _is_alias_of(value: Any, cls: type) -> bool:
    """Whether `value` is `cls` or a base of it with arguments in brackets."""
    origin = get_origin(value)
    return isinstance(origin, type) and issubclass(cls, origin)


def _set_other(module: Module, names: frozenset[str] | None, name: str, value: Any) -> None:
    """Set an attribute that is not a field: a settable property or a wrapper's name.

    Only `__init__` may do so: `names` is `None` once the instance is complete.
    """
    cls = type(module)
    if names is None:
        if name == "__orig_class__" and _is_alias_of(value, cls) and name not in vars(module):
            # `typing` does so after `Layer[int](...)`. It is a note, and no part of the tree.
            vars(module)[name] = value
            return
        if name in {field.name for field in dataclasses.fields(cls)}:
            raise dataclasses.FrozenInstanceError(
                f"cannot assign to field {name!r} of `{cls.__qualname__}`: modules are immutable. "
                f"Make a changed copy: `tree_at(lambda m: m.{name}, module, new_value)`."
            )
        raise dataclasses.FrozenInstanceError(
            f"cannot assign to field {name!r}: modules are immutable, and `{cls.__qualname__}` has "
            f"no field of that name. Fields are annotated in the class body and set in `__init__`."
        )
    if name in WRAPPER_NAMES:
        vars(module)[name] = value
        expect_irregular(cls)
    elif hasattr(getattr(cls, name, None), "__set__"):
        set_by_descriptor(module, name, value)
    elif hasattr(cls, name):
        raise dataclasses.FrozenInstanceError(
            f"cannot assign to field {name!r}: `{cls.__qualname__}.{name}` is an attribute of the "
            f"class, not a field. Give the field another name and annotate it in the class body."
        )
    else:
        raise dataclasses.FrozenInstanceError(
            f"cannot assign to field {name!r}: `{cls.__qualname__}` declares no such field. Add "
            f"its annotation to the class body:\n\n"
            f"class {cls.__name__}(...):\n    {name}: {_annotation(value)}\n"
        )
