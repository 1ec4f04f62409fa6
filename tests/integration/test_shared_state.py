"""Everything that threads share between calls, and why it is safe: the one list of it.

All containers, caches and objects with containers that stand in modules and classes. Whoever adds
one says here what two threads may do to it at once.
"""

import ast
import contextvars
import importlib
import pkgutil
import re
import threading
import types
import weakref
from collections import deque
from collections.abc import Iterator
from enum import EnumMeta
from pathlib import Path
from typing import Any

import jax
import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = [
    "tree_surgery",
    "pytree_module",
    "filtered_transforms",
    "runtime_checks",
    "nn_layers",
    "equinoctial",
]
CONTAINERS = (
    dict,
    list,
    set,
    deque,
    bytearray,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
)
# What has a value for each thread. JAX's has no public class.
CONTEXTS = (threading.local, contextvars.ContextVar, type(jax.make_user_context()))
IDEMPOTENT = "one write of a value that every thread would find"
REGISTERED = "written at import, or by a library's import; one write of a value"
LRU = "`functools`' own lock; bounded"
OWN = "each thread has its own"

SHARED = {
    # filtered_transforms
    "filtered_transforms._jit.by_function.IS_WEAK": "a `BoundedTable`",
    "filtered_transforms._filters.predicates.ARRAY_TYPES": IDEMPOTENT,
    "filtered_transforms._filters.predicates._INEXACT": IDEMPOTENT,
    "filtered_transforms._jit.filter_jit._REGISTRIES": "a `BoundedTable`; a lock for what is alive",
    "filtered_transforms._mapping.pmap._PROGRAMS": (
        "`setdefault` by function, and `BoundedTable`s; weak, bounded"
    ),
    "filtered_transforms._tracing.shape_trials._RESULTS": "as above",
    "filtered_transforms._tracing.noinline._INTERFACES": (
        "a lock; weak. An interface has its own lock"
    ),
    "filtered_transforms._jit.check_registry._CHECKS": REGISTERED,
    "filtered_transforms._tracing.finalise.primitive_finalisations": REGISTERED,
    "filtered_transforms._primitives.raise_hook._HOOK": REGISTERED,
    "filtered_transforms._control_flow.branches._BRANCHES": "`BodyCache`: `setdefault`; weak",
    "filtered_transforms._control_flow.filter_scan._SCAN": "as above",
    "filtered_transforms._control_flow.filter_while_loop._WHILE": "as above",
    "filtered_transforms._control_flow.filter_fori_loop._FORI": "as above",
    "filtered_transforms._control_flow.filter_while_loop._CONDITION": "as above",
    "filtered_transforms._control_flow.maps._MAP": "as above",
    "filtered_transforms._jit.trace_observers._OBSERVERS": OWN,
    "filtered_transforms._reverse_loops.progress_meters._BARS": "a lock",
    "filtered_transforms._reverse_loops.checkpoint_schedule._repeated_steps": LRU,
    "filtered_transforms._reverse_loops.checkpoint_schedule.schedule": LRU,
    "filtered_transforms._primitives.filter_primitive._out_of": (
        f"{LRU}; what two threads write is equal"
    ),
    "filtered_transforms._jax.effects.debug_effect": LRU,
    "filtered_transforms._jax.jaxpr_classes.core": LRU,
    "filtered_transforms._jax.jaxpr_classes.drop_var": LRU,
    "filtered_transforms._jax.jitted.unspecified_sharding": LRU,
    # the others
    "tree_surgery._nodes.leaf_info.dtype_name": LRU,
    "tree_surgery._select.path_pattern.parse": LRU,
    "pytree_module._functions_by_name._public_modules": LRU,
    "pytree_module._field_checks._PLAIN_DYNAMIC": IDEMPOTENT,
    "pytree_module._flatten_codegen._NAMESPACES": "one entry for each class, changed under a lock",
    "nn_layers._core.shared_draws._draws_of": LRU,
    "nn_layers._core.shared_draws._most_draws": LRU,
    "nn_layers._jax.given_numbers": LRU,
    "nn_layers._core.layer_protocol._TAKES_KEY_BY_CLASS": f"{IDEMPOTENT}; weak",
    "runtime_checks._on_error._CONTEXT": OWN,
    "runtime_checks._failure.exceptions.FAILURES": "numbers of its own for each failure; bounded",
    "runtime_checks._failure.pending_failures._register": (
        "what is registered twice does nothing the second time"
    ),
    "runtime_checks.debug._dce._STORED": "a lock; bounded",
    "runtime_checks.debug._retrace._TRACES": OWN,
    "runtime_checks.debug._retrace._listen": "a name that is noted twice is noted",
}
CONSTANT = {  # never written once they are made
    "equinoctial._private_names.MODULES",
    "filtered_transforms._moved.MOVED",
    "nn_layers._moved.MOVED",
    "runtime_checks._moved.MOVED",
    "tree_surgery._moved.MOVED",
    "filtered_transforms._derivatives.jacobian._JAX",
    "filtered_transforms._filters.partition._MASKS",
    "filtered_transforms._jax.inner_programs._READERS",
    "filtered_transforms._tracing.finalise._interpreter",
    "nn_layers._attention.softmax_attention._LOGIT_BYTES_AT_ONCE",
    "nn_layers._conv.conv._PAD_MODES",
    "pytree_module._flatten_codegen._STUB_CODES",
    "pytree_module._field_names._PLAIN_TYPES",
    "pytree_module._pickling._IN_CONTAINER",
    "runtime_checks._enumeration.Enumeration._names",
    "runtime_checks._enumeration.Enumeration._texts",
    "runtime_checks._functionalise.rules.RULES",
    "runtime_checks._failure.exceptions._STATEMENTS",
    "runtime_checks.debug._announce._ONE_STEP",
    "tree_surgery._show.document._BY_TYPE",
    "tree_surgery._show.layout._WRITERS",
    "tree_surgery._safetensors.header.CODES",
    "tree_surgery._safetensors.header.DTYPES",
    "tree_surgery._safetensors.header._SIZES",
}


def modules() -> Iterator[types.ModuleType]:
    for name in DISTRIBUTIONS:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if found.name != "equinoctial.as_equinox":  # changes the process, for what it is
                yield importlib.import_module(found.name)


def is_shared(value: Any) -> bool:
    """Whether threads that reach `value` could change it."""
    if isinstance(value, (*CONTAINERS, *CONTEXTS)) or hasattr(value, "cache_info"):
        return True
    if callable(value) or hasattr(value, "__get__") or isinstance(value, types.ModuleType):
        return False
    if not is_ours(value):
        return False
    names = [*getattr(value, "__dict__", ()), *_slots(type(value))]
    parts = [getattr(value, name, None) for name in names]
    return any(isinstance(part, CONTAINERS) for part in parts)


def _slots(cls: type) -> list[str]:
    return [name for base in cls.__mro__ for name in vars(base).get("__slots__", ())]


def own_names(module: types.ModuleType) -> tuple[set[str], set[str]]:
    """The names that a module imports, and those of objects of which it assigns an attribute."""
    imported: set[str] = set()
    assigned: set[str] = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {alias.asname or alias.name for alias in node.names}
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                assigned.add(target.value.id)
    return imported, assigned


def is_ours(value: Any) -> bool:
    return type(value).__module__.split(".")[0] in DISTRIBUTIONS


def found() -> dict[str, Any]:
    """All that is shared, by the name in the module where it is made."""
    seen: dict[int, tuple[str, Any]] = {}
    for module in modules():
        imported, assigned = own_names(module)
        for name, value in vars(module).items():
            if name in imported and not isinstance(value, type):
                continue
            if name in assigned and is_ours(value):
                seen.setdefault(id(value), (f"{module.__name__}.{name}", value))
            if isinstance(value, type) and written_in(value) == module.__name__:
                for attribute, part in vars(value).items():
                    hidden = attribute.startswith("__") or attribute == "_field_defaults"
                    hidden |= isinstance(value, EnumMeta) and attribute.endswith("_")
                    if not hidden and is_shared(part):
                        seen.setdefault(id(part), (f"{module.__name__}.{name}.{attribute}", part))
            elif not name.startswith("__") and is_shared(value):
                seen.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return dict(seen.values())


def written_in(cls: type) -> str:
    """The module of a class. (`__module__` of a public one equals its public path as well.)"""
    return str(getattr(cls.__module__, "defined_in", cls.__module__))


def test_the_list_is_complete():
    assert set(found()) == SHARED.keys() | CONSTANT


def test_the_page_names_all_that_is_shared_and_says_what_each_is():
    described: list[str] = []
    prefix = ""
    # The last section is held by `test_process_state.py`.
    for line in (ROOT / "docs/state.md").read_text().split("## What others own")[0].splitlines():
        if line.startswith("## "):
            prefix = "" if (title := line[3:]) not in DISTRIBUTIONS else f"{title}."
        if line.startswith("| `"):
            name, *columns = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(columns) == 5 and all(columns), line
            described.append(prefix + name.strip("`"))
    assert sorted(described) == sorted(SHARED)


@pytest.mark.parametrize("name", sorted(CONSTANT))
def test_constants_are_never_written(name: str):
    short = name.rsplit(".", 1)[1]
    writes = re.compile(
        rf"""(.*\.)?{short}(\[.*\]\s*([-+|*/&]=|=[^=])
        | \.(add|append|clear|discard|extend|insert|pop|popitem|remove|setdefault|update)\()""",
        re.VERBOSE,
    )
    for file in ROOT.glob(f"packages/*/src/{name.split('.')[0]}/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Delete)):
                assert not writes.match(ast.unparse(node)), f"{file}:{node.lineno}"
