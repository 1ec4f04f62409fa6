"""The flatten and unflatten functions of a `Module` class, written for that class alone.

JAX keeps the three functions with which a class is registered for good, so they must exist when
the class is created. Most classes are never flattened before they are subclassed or dropped, and
cloudpickle creates a class first and fills it later. So the functions start as stubs which, when
first called, generate the code for the class as it then is and take it over (`__code__`). That is
Python's, and holds for every JAX version: `test_cloudpickle_of_a_class_of_main` fails without it.

The static part of an instance is the values of its static fields, after the types of those whose
annotation does not say it: to Python `1`, `1.0` and `True` are equal, to a program they are not.

The generated code reads the fields and nothing else. An instance that lacks one (a method called in
`__init__`) takes the way through `flatten_irregular`. So does one that holds more than its fields
(the names that `module_update_wrapper` adds, static values that `==` does not tell apart), but only
a class that has such an instance pays for finding them: `expect_irregular`. What is found for an
instance does not depend on that: of one that holds its fields alone, both ways make the same.
"""

import linecache
import threading
from types import CodeType, FunctionType
from typing import Any

import jax.tree_util as jtu

from ._bare_instance import bare_instance
from ._field_names import annotated_types, field_names
from ._irregular_instances import Irregular, flatten_irregular, unflatten_irregular

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

_FLATTEN = """\
def {name}(module):
    values = module.__dict__{check}
    try:
        return {children}, {aux}
    except KeyError:
        return {irregular}
"""

_CHECK = """
    if len(values) != {size}:
        return {irregular}"""

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
    code = compile(source, filename, "exec")
    return {const.co_name: const for const in code.co_consts if isinstance(const, CodeType)}


class _Namespaces(dict[type, dict[str, Any]]):
    """The globals of the three functions of each class.

    Written when a class is defined; changed, under `_GENERATING`, when code is generated for it;
    read by `expect_irregular`. It has an entry for each `Module` class, for ever: so has JAX's
    registry of nodes, which holds the functions and with them these.
    """


_NAMESPACES = _Namespaces()

_STUB_CODES = _codes(_STUBS, "<pytree_module stub>")


def _tuple(items: list[str]) -> str:
    return "(" + "".join(f"{item}, " for item in items).rstrip(" ") + ")"


def _source(cls: type, check: bool) -> str:
    """The three functions of `cls`; `check`: whether flattening counts what an instance holds."""
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
    """The static data: the types that no annotation says, then all values.

    The types come first, since comparing values of two types may fail.
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


# A thread must not put back code without the check when another has just asked for it.
_GENERATING = threading.RLock()


def generate(cls: type, check: bool = False) -> None:
    """Gives the functions of `cls` the code for the fields that it has now."""
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
    namespace.update({f"key_{i}": key for i, key in enumerate(keys)})
    namespace.update(dynamic=dynamic, static=annotated_types(cls), keys=keys)
    # JAX holds these very functions. To register others under the class is an error.
    for name, code in _codes(source, filename).items():
        namespace[name].__code__ = code
    namespace["check"] = check  # Last: who reads it without the lock relies on the code above.


def expect_irregular(cls: type) -> None:
    """Says that an instance of `cls` holds more than its fields."""
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
