"""The flatten and unflatten functions of a `Module` class, generated for each class.

JAX keeps the three functions of a registered class for ever, so they must exist when the class is
created. But most classes are never flattened, and cloudpickle creates a class first and fills it
later. So the functions start as stubs. The first call of a stub generates the code for the class as
it is then, and replaces the `__code__` of the three functions. This is a feature of Python, and
independent of the JAX version: `test_cloudpickle_of_a_class_of_main` fails without it.

The static part of an instance consists of the values of its static fields, preceded by the types of
those whose annotation does not determine the type. In Python `1`, `1.0` and `True` are equal, but
they mean different programs.

The generated code reads the fields only. An instance that lacks a field (a method called in
`__init__`) is flattened by `_irregular_instances`. So is an instance that holds more than its
fields: the names that `module_update_wrapper` adds, or static values that `==` does not
distinguish. Only classes that have such instances pay for the test: `expect_irregular`. Invariant:
for an instance that holds exactly its fields, both ways return the same, so that treedefs of equal
instances are equal before and after `expect_irregular`.
"""

import linecache
import threading
from types import CodeType, FunctionType
from typing import Any

import jax.tree_util as jtu

from ._bare_instance import bare_instance
from ._field_names import annotated_types, field_names
from ._irregular_instances import Irregular, flatten_irregular, unflatten_irregular

# `generate` replaces the code of the very function that the last line calls: no endless recursion.
_STUBS = """\
def flatten(module):
    generate(cls)
    return flatten(module)

def flatten_with_keys(module):
    generate(cls)
    return flatten_with_keys(module)

def unflatten(aux, children):
    generate(cls)
    return unflatten(aux, children)
"""

# A missing field raises `KeyError`. This costs nothing as long as all fields are there.
_FLATTEN = """\
def {name}(module):
    values = module.__dict__{check}
    try:
        return {children}, {aux}
    except KeyError:
        return {irregular}
"""

# Counts the entries of `__dict__`. Without it, additional entries are ignored.
_CHECK = """
    if len(values) != {size}:
        return {irregular}"""

# Sets the fields without `__init__`, converters or checks: JAX unflattens with arbitrary objects.
_UNFLATTEN = """\
def unflatten(aux, children):
    if aux.__class__ is Irregular:
        return unflatten_irregular(cls, aux, children)
    module = bare_instance(cls)
    values = module.__dict__
    {assign}
    return module
"""


def _codes(source: str, filename: str) -> dict[str, CodeType]:
    """The code objects of the functions that `source` defines, by name."""
    code = compile(source, filename, "exec")
    return {const.co_name: const for const in code.co_consts if isinstance(const, CodeType)}


class _Namespaces(dict[type, dict[str, Any]]):
    """The globals of the three functions of each class.

    Written when a class is defined; changed under the lock `_GENERATING` when code is generated;
    read by `expect_irregular`. An entry is never removed. Nor is JAX's registry entry of the class,
    which holds the functions and thereby their globals.
    """


_NAMESPACES = _Namespaces()

_STUB_CODES = _codes(_STUBS, "<pytree_module stub>")


def _tuple(items: list[str]) -> str:
    return "(" + "".join(f"{item}, " for item in items).rstrip(" ") + ")"


def _source(cls: type, check: bool) -> str:
    """The source of the three functions of `cls`; `check`: whether flattening counts entries."""
    dynamic, static = field_names(cls)
    children = [f"values[{name!r}]" for name in dynamic]
    statics = [f"values[{name!r}]" for name in static]
    unsaid = [i for i, kind in enumerate(annotated_types(cls).values()) if kind is None]
    size = len(dynamic) + len(static) if check else None
    aux = _tuple(_with_types(statics, unsaid))
    keyed = [f"(key_{i}, {child})" for i, child in enumerate(children)]
    return "\n".join(
        [
            _flatten_source("flatten", "None", _tuple(children), aux, size),
            _flatten_source("flatten_with_keys", "keys", _tuple(keyed), aux, size),
            _unflatten_source(children, ["_"] * len(unsaid) + statics),
        ]
    )


def _with_types(statics: list[str], unsaid: list[int]) -> list[str]:
    """The static data: the types that no annotation determines, then all values.

    Tuples are compared from the left, and comparing values of different types may raise. So the
    types come first: if they differ, the values are not compared.
    """
    types = [f"type(static_{i} := {statics[i]})" for i in unsaid]
    return types + [f"static_{i}" if i in unsaid else text for i, text in enumerate(statics)]


def _flatten_source(name: str, keys: str, children: str, aux: str, size: int | None) -> str:
    irregular = f"flatten_irregular(module, dynamic, static, {keys})"
    check = "" if size is None else _CHECK.format(size=size, irregular=irregular)
    return _FLATTEN.format(name=name, check=check, children=children, aux=aux, irregular=irregular)


def _unflatten_source(children: list[str], aux: list[str]) -> str:
    targets = ((children, "children"), (aux, "aux"))
    assign = [f"{_tuple(names)} = {right}" for names, right in targets if names]
    return _UNFLATTEN.format(assign="\n    ".join(assign) or "pass")


# Without the lock, a thread could restore code without the check after another one asked for it.
_GENERATING = threading.RLock()


def generate(cls: type, check: bool = False) -> None:
    """Set the code of the functions of `cls` for its current fields. A check is never removed."""
    with _GENERATING:
        _generate(cls, check or _NAMESPACES[cls]["check"])


def _generate(cls: type, check: bool) -> None:
    namespace = _NAMESPACES[cls]
    source = _source(cls, check)
    filename = f"<pytree_module {cls.__module__}.{cls.__qualname__}>"
    # Lets a debugger and a traceback show the generated lines.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    dynamic, _ = field_names(cls)
    keys = tuple(jtu.GetAttrKey(name) for name in dynamic)
    # The globals before the code: another thread may run the new code as soon as it is set.
    namespace.update({f"key_{i}": key for i, key in enumerate(keys)})
    namespace.update(dynamic=dynamic, static=annotated_types(cls), keys=keys)
    # Change the functions in place: JAX holds them, and a class cannot be registered twice.
    for name, code in _codes(source, filename).items():
        namespace[name].__code__ = code
    namespace["check"] = check  # last: `expect_irregular` reads it without the lock


def expect_irregular(cls: type) -> None:
    """Make the generated code of `cls` test for instances that hold more than their fields."""
    if not _NAMESPACES[cls]["check"]:
        generate(cls, check=True)


def register(cls: type) -> None:
    """Registers `cls` with JAX as a PyTree node with key paths."""
    namespace: dict[str, Any] = {
        "cls": cls,
        "bare_instance": bare_instance,
        "check": False,
        "generate": generate,
        "Irregular": Irregular,
        "flatten_irregular": flatten_irregular,
        "unflatten_irregular": unflatten_irregular,
    }
    _NAMESPACES[cls] = namespace
    for name, code in _STUB_CODES.items():
        namespace[name] = FunctionType(code, namespace, name)
    jtu.register_pytree_with_keys(
        cls, namespace["flatten_with_keys"], namespace["unflatten"], namespace["flatten"]
    )
