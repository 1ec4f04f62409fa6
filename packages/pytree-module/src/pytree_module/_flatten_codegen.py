"""The flatten and unflatten functions of a `Module` class, written for that class alone.

JAX keeps the three functions with which a class is registered for good, so they must exist when
the class is created. Most classes are never flattened before they are subclassed or dropped, and
cloudpickle creates a class first and fills it later. So the functions start as stubs which, when
first called, generate the code for the class as it then is and take it over (`__code__`).

The static part of an instance is the values of its static fields, after the types of those whose
annotation does not say it: to Python `1`, `1.0` and `True` are equal, to a program they are not.

The generated code reads the fields and nothing else. An instance that lacks one (a method called in
`__init__`) takes the way through `_irregular`. So does one that holds more than its fields (the
names that `module_update_wrapper` adds, static values that `==` does not tell apart), but only a
class that has such an instance pays for finding them: `expect_irregular`. What is found for an
instance does not depend on that: of one that holds its fields alone, both ways make the same.
"""

import linecache
import threading
from types import CodeType, FunctionType
from typing import Any

import jax.tree_util as jtu

from ._bare_instance import bare_instance
from ._field_names import field_names, homes_of
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


# The globals of the functions of each class. JAX's registry keeps these for ever as well.
_NAMESPACES: dict[type, dict[str, Any]] = {}

_STUB_CODES = _codes(_STUBS, "<pytree_module stub>")


def _tuple(items: list[str]) -> str:
    return "(" + "".join(f"{item}, " for item in items).rstrip(" ") + ")"


def _source(cls: type, check: bool) -> str:
    dynamic, static = field_names(cls)
    child = [f"values[{name!r}]" for name in dynamic]
    keyed = [f"(key_{i}, {value})" for i, value in enumerate(child)]
    aux = [f"values[{name!r}]" for name in static]
    # Where the annotation does not say the type, it stands before the values: those of different
    # types may not even be comparable.
    unsaid = [i for i, home in enumerate(homes_of(cls).values()) if home is None]
    typed = [f"type(static_{i} := {aux[i]})" for i in unsaid]
    typed += [f"static_{i}" if i in unsaid else value for i, value in enumerate(aux)]
    functions: list[str] = []
    for name, children, keys in (("flatten", child, "None"), ("flatten_with_keys", keyed, "keys")):
        irregular = f"flatten_irregular(module, dynamic, static, {keys})"
        size = len(dynamic) + len(static)
        functions.append(
            _FLATTEN.format(
                name=name,
                check=_CHECK.format(size=size, irregular=irregular) if check else "",
                children=_tuple(children),
                aux=_tuple(typed),
                irregular=irregular,
            )
        )
    targets = ((child, "children"), (["_"] * len(unsaid) + aux, "aux"))
    assign = [f"{_tuple(names)} = {right}" for names, right in targets if names]
    functions.append(_UNFLATTEN.format(assign="\n    ".join(assign) or "pass"))
    return "\n".join(functions)


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
    namespace.update(dynamic=dynamic, static=homes_of(cls), keys=keys)
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
