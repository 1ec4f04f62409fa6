"""What of a call decides whether a jitted function is traced anew, and how two calls differ."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms import is_array
from pytree_module import Module
from runtime_checks._jax import Tracer
from tree_surgery import path_str
from tree_surgery.extend import array_text

_NUMBERS = (bool, int, float, complex)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One leaf of the arguments: an array by its type, anything else by its value."""

    kind: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    weak: bool = False
    sharding: str = ""
    value: Any = None

    def __str__(self) -> str:
        if self.kind != "array":
            return _shown(self.value)
        return array_text(self)


def leaf_of(x: Any, numbers_are_arrays: bool) -> Leaf:
    """`numbers_are_arrays`: as for `jax.jit`; for `filter_jit` a Python number is static."""
    number = numbers_are_arrays and type(x) in _NUMBERS
    if not (is_array(x) or number):
        return Leaf("static", value=x)
    aval = jax.typeof(x)
    sharding = "" if isinstance(x, Tracer) else _sharding(x)
    dtype, weak = str(aval.dtype), bool(getattr(aval, "weak_type", False))
    value = x if number else None
    return Leaf("array", tuple(aval.shape), dtype, weak, sharding, value)


def _sharding(x: Any) -> str:
    sharding = getattr(x, "sharding", None)
    if sharding is None or not getattr(x, "committed", False):
        return ""
    return str(sharding)


@dataclasses.dataclass(frozen=True)
class CallSignature:
    """A call, as far as it decides which program serves it."""

    leaves: dict[str, Leaf]
    treedef: Any

    @classmethod
    def of(
        cls,
        fn: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        numbers_are_arrays: bool = False,
    ) -> "CallSignature":
        names = parameter_names(fn)
        pairs, treedef = jtu.tree_flatten_with_path((args, kwargs))
        leaves = {_path(path, names): leaf_of(leaf, numbers_are_arrays) for path, leaf in pairs}
        for path, value in _static_fields((args, kwargs), ()):
            leaves.setdefault(_path(path, names), Leaf("static", value=value))
        return cls(leaves, treedef)

    def differences(self, earlier: "CallSignature") -> list[str]:
        """One line for each leaf that differs from an earlier call."""
        found: list[str] = []
        for path, new in self.leaves.items():
            old = earlier.leaves.get(path)
            if old is None:
                found.append(f"{path}: new, {new}")
            else:
                found.extend(f"{path}: {line}" for line in _changes(old, new))
        found.extend(f"{path}: gone" for path in earlier.leaves if path not in self.leaves)
        if not found:
            found.extend(self._numbers(earlier))
        if not found and self.treedef != earlier.treedef:
            found.append(f"the structure: {earlier.treedef} -> {self.treedef}")
        return found

    def _numbers(self, earlier: "CallSignature") -> list[str]:
        """Python numbers that are arrays for `jax.jit`, unless an option says otherwise."""
        return [
            f"{path}: static {earlier.leaves[path].value!r} -> {new.value!r}, if it is one of the "
            f"`static_argnums` or `static_argnames`"
            for path, new in self.leaves.items()
            if new.kind == "array" and new.value != earlier.leaves[path].value
        ]


def _static_fields(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The static fields of the modules in a tree: they are part of its structure."""
    if isinstance(node, Module):
        for field in dataclasses.fields(node):
            if field.metadata.get("static") and hasattr(node, field.name):
                yield (*path, jtu.GetAttrKey(field.name)), getattr(node, field.name)

    def is_leaf(x: Any) -> bool:
        return isinstance(x, Module) and x is not node

    for inside, leaf in jtu.tree_leaves_with_path(node, is_leaf=is_leaf):
        if is_leaf(leaf):
            yield from _static_fields(leaf, (*path, *inside))


def nearest(new: CallSignature, earlier: Sequence[CallSignature]) -> list[str]:
    """How a call differs from that of the earlier ones from which it differs least."""
    return min((new.differences(old) for old in reversed(earlier)), key=len, default=[])


def parameter_names(fn: Any) -> list[str]:
    """The names of the positional parameters of a function, as far as they are known."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _path(path: tuple[Any, ...], names: list[str]) -> str:
    kind, which, *inside = path
    if kind.idx == 1:
        name = which.key
    else:
        name = names[which.idx] if which.idx < len(names) else f"args[{which.idx}]"
    rest = path_str(tuple(inside)) if inside else ""
    return f"{name}.{rest}" if rest and not rest.startswith("[") else name + rest


def _changes(old: Leaf, new: Leaf) -> list[str]:
    if old.kind != new.kind:
        return [f"{_what(old)} -> {_what(new)}"]
    if old.kind == "static":
        return _static_changes(old.value, new.value)
    lines: list[str] = []
    if old.shape != new.shape:
        lines.append(f"shape {old.shape} -> {new.shape}")
    if old.dtype != new.dtype:
        lines.append(f"dtype {old.dtype} -> {new.dtype}")
    if old.weak != new.weak:
        lines.append(
            f"weak type {old.weak} -> {new.weak} (a Python number, or `jnp.asarray` of one, is "
            f"weakly typed: give it a dtype)"
        )
    if old.sharding != new.sharding:
        default = "uncommitted"
        lines.append(f"sharding {old.sharding or default} -> {new.sharding or default}")
    return lines


def _what(leaf: Leaf) -> str:
    return f"array {leaf}" if leaf.kind == "array" else f"static {leaf}"


def _static_changes(old: Any, new: Any) -> list[str]:
    if old is new:
        return []
    try:
        same = bool(old == new) and type(old) is type(new)
    except Exception:
        same = False
    if same:
        return []
    again = _made_anew(old, new)
    if again:
        return [again]
    hint = ""
    if type(new) in _NUMBERS and type(old) is type(new):
        hint = " (a Python number is static for `filter_jit`: pass `jnp.asarray(...)` to trace it)"
    return [f"static {_shown(old)} -> {_shown(new)}{hint}"]


def _shown(x: Any) -> str:
    if code_of(x) is None or isinstance(x, functools.partial):
        return repr(x)
    return getattr(x, "__qualname__", repr(x))


def _made_anew(old: Any, new: Any) -> str:
    """What to say of two functions that differ only in that they are two."""
    old_code, new_code = code_of(old), code_of(new)
    if old_code is None or new_code is None or old_code is not new_code:
        return ""
    kind = "partial" if isinstance(new, functools.partial) else "function"
    name = "lambda" if new_code.co_name == "<lambda>" else new_code.co_name
    return (
        f"a new object each time: the {kind} `{name}`, {new_code.co_filename}:"
        f"{new_code.co_firstlineno}. Define it once, outside of what is called repeatedly"
    )


def code_of(x: Any) -> types.CodeType | None:
    while isinstance(x, functools.partial):
        x = x.func
    x = getattr(x, "__func__", getattr(x, "__wrapped__", x))
    return getattr(x, "__code__", None)


def is_plain_jit(fn: Any) -> bool:
    """Whether `fn` comes from `jax.jit`, for which Python numbers are arrays."""
    return type(fn) is type(jax.jit(_nothing))


def _nothing() -> None:
    pass
