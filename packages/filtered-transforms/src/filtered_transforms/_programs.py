"""From the structure of a call to the compiled program that serves it.

A call is taken apart into arrays, which the program takes as one flat list, and the rest. The rest
(treedef, static leaves, and which leaves are arrays) is the key under which the program is found.
"""

import threading
import warnings
import weakref
from collections.abc import Callable
from itertools import compress
from typing import Any

import jax
import jax.tree_util as jtu
from tree_surgery import path_str

from ._options import JitOptions
from ._partition import merge
from ._predicates import ARRAY_TYPES, array_mask
from ._static_leaf import wrap_static

_MAX_PLANS = 4096
_MAX_PROGRAMS = 4096


class UnhashableStaticError(TypeError, ValueError):
    # Python says TypeError where something has no hash; `jax.jit` says ValueError of a static
    # argument without one. Code that catches either goes on working.
    pass


class Signature:
    # One trace of a program. It travels in the structure of what the trace returns, so that JAX
    # hands it back with every result of that trace. `has_checks` is found after the first call.

    __slots__ = ("has_checks",)

    def __init__(self) -> None:
        self.has_checks: bool | None = None


jtu.register_pytree_node(Signature, lambda seen: ((), seen), lambda seen, _: seen)


class _Quiet(threading.local):
    # While a thread compiles a program whose unused donations are to be passed over in silence:
    # the `warnings` context in which it does so.
    context: Any = None
    wanted: bool = False


QUIET = _Quiet()


def _start_quiet() -> None:
    if QUIET.wanted and QUIET.context is None:
        QUIET.context = warnings.catch_warnings()
        QUIET.context.__enter__()
        warnings.filterwarnings("ignore", message="Some donated buffers were not usable")


def stop_quiet() -> None:
    """Ends what tracing has started. Called after each call, and does nothing if it was no trace."""
    context, QUIET.context = QUIET.context, None
    if context is not None:
        context.__exit__(None, None, None)


class Plan:
    # How to take the leaves of one structure of call apart, and the programs for its static
    # leaves. Programs differ in those; a structure without any has one program.

    __slots__ = ("donated", "floats", "kept", "mask", "others", "programs", "treedef")

    def __init__(self, treedef: Any, leaves: list[Any], mask: list[bool], donated: list[bool]):
        self.treedef = treedef
        self.mask = mask
        self.others = [not array for array in mask]
        self.floats = any(
            isinstance(leaf, (float, complex)) for leaf in compress(leaves, self.others)
        )
        self.donated = [array and gone for array, gone in zip(mask, donated, strict=True)]
        self.kept = [array and not gone for array, gone in zip(mask, donated, strict=True)]
        self.programs: dict[Any, Any] = {}

    def static_key(self, leaves: list[Any]) -> tuple[Any, ...]:
        """The static leaves, as something to look a program up by. Their types are in the plan."""
        static = compress(leaves, self.others)
        if self.floats:  # 0.0 == -0.0 and nan != nan, but not here
            return tuple(
                repr(leaf) if isinstance(leaf, (float, complex)) else leaf for leaf in static
            )
        return tuple(static)


class Programs:
    """The programs of one function (or, without one, of all callable PyTrees) and one set of options.

    The function is referred to weakly: when it goes, so do its programs.
    """

    __slots__ = ("__weakref__", "function", "known", "options", "plans")

    def __init__(self, function: Any, options: JitOptions):
        self.function = None if function is None else weakref.ref(function)
        self.options = options
        # By treedef and exact types of leaves; and, for the miss, by treedef and types of the
        # static leaves alone, since all arrays are alike.
        self.known: dict[Any, Plan] = {}
        self.plans: dict[Any, Plan] = {}

    def clear(self) -> None:
        self.known.clear()
        self.plans.clear()

    def plan(self, treedef: Any, types: Any, leaves: list[Any], call: tuple[Any, ...]) -> Plan:
        """The plan for a structure of call that was not met before, with these exact types."""
        mask = array_mask(leaves)
        static_types = tuple(
            None if array else leaf.__class__ for leaf, array in zip(leaves, mask, strict=True)
        )
        key = (treedef, static_types)
        try:
            plan = self.plans.get(key)
        except TypeError as error:
            raise unhashable(call, mask, error) from None
        if plan is None:
            donated = self.options.donated(call, self.function, len(leaves))
            plan = Plan(treedef, leaves, mask, donated)
            _store(self.plans, key, plan, _MAX_PLANS)
        if all(cls in ARRAY_TYPES for cls in types):
            _store(self.known, (treedef, types), plan, _MAX_PLANS)
        return plan

    def program(self, plan: Plan, leaves: list[Any], call: tuple[Any, ...]) -> Any:
        """The program for static leaves that were not met before."""
        program = make_program(self.function, plan, leaves, call, self.options)
        try:
            _store(plan.programs, plan.static_key(leaves), program, _MAX_PROGRAMS)
        except TypeError as error:
            raise unhashable(call, plan.mask, error) from None
        return program


def _store(table: dict[Any, Any], key: Any, value: Any, limit: int) -> None:
    while len(table) >= limit:
        table.pop(next(iter(table)), None)
    table[key] = value


def make_program(
    function: Callable[[], Any] | None,
    plan: Plan,
    leaves: list[Any],
    call: tuple[Any, ...],
    options: JitOptions,
) -> Any:
    """A `jax.jit`-ed function of the donated and the kept arrays of a call with these static leaves."""
    treedef, mask, donated = jtu.tree_structure(call), plan.mask, plan.donated
    static = list(compress(leaves, plan.others))
    gone = list(compress(donated, mask))

    def flat(given: list[Any], kept: list[Any]) -> Any:
        _start_quiet()
        arrays = merge(gone, given, kept)
        whole = treedef.unflatten(merge(mask, arrays, static))
        if function is None:
            fun, args, kwargs = whole
        else:
            fun, (args, kwargs) = function(), whole
        return wrap_static(fun(*args, **kwargs)), Signature()

    named = call[0] if function is None else function()
    flat.__name__ = flat.__qualname__ = getattr(named, "__name__", type(named).__name__)
    return jax.jit(flat, donate_argnums=(0,) if any(donated) else (), **options.jit_arguments())


def unhashable(call: tuple[Any, ...], mask: list[bool], error: TypeError) -> Exception:
    """The error for a call with a static value that has no hash; names its path."""
    for (path, leaf), array in zip(jtu.tree_leaves_with_path(call), mask, strict=True):
        if array:
            continue
        try:
            hash(leaf)
        except TypeError:
            return UnhashableStaticError(
                f"`filter_jit` got a {type(leaf).__name__} at {_where(path, call)}. What is no "
                f"array is static, and must have a hash (here: {error}). Pass an array, a tuple, "
                f"or a PyTree of such values."
            )
    return UnhashableStaticError(
        f"`filter_jit` got a PyTree whose structure has no hash: a static field, or the static "
        f"data of a custom node, is not hashable ({error}). Use tuples for lists there."
    )


def _where(path: tuple[Any, ...], call: tuple[Any, ...]) -> str:
    part = path[0].idx + (3 - len(call))
    inside = path_str(path[1:])
    if part == 0:
        return f"the function itself, {inside}"
    return f"{('args', 'kwargs')[part - 1]}{inside}"
