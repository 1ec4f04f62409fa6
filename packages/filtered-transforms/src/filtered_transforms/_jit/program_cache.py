"""From a call to its compiled program.

A call is split into its arrays, which the program takes as a flat list, and the rest: the treedef,
the static leaves, and the positions of the arrays. The rest is the key of the program.
"""

import functools
import struct
import weakref
from collections.abc import Callable
from itertools import compress
from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.output_structure import sign
from filtered_transforms._filters.partition import merge
from filtered_transforms._filters.predicates import ARRAY_TYPES, array_mask
from filtered_transforms._jax.tracers import Tracer
from filtered_transforms._placement.placements import is_place
from tree_surgery import path_str

from .bounded_table import BoundedTable
from .checked_program import FirstCall
from .copied_functions import key_of_copies
from .donation import Donating
from .options import JitOptions
from .shardings import (
    depend_on_shapes,
    explain_arguments,
    placed_results,
    shardings_of_call,
)
from .trace_observers import observe

_MAX_SPLITS = 1024  # of one function, or of all callable PyTrees together
_MAX_PROGRAMS = 1024  # of one split


class UnhashableStaticError(TypeError, ValueError):
    """A static value is not hashable.

    Python raises `TypeError` for an unhashable value, `jax.jit` raises `ValueError` for an
    unhashable static argument. Code that catches either one keeps working.
    """


class CallSplit:
    """How to split the leaves of calls of one structure, and the programs for such calls.

    There is one program for each set of static leaves.
    """

    __slots__ = (
        "arrays",
        "complexes",
        "donated",
        "floats",
        "kept",
        "others",
        "pack",
        "programs",
        "static",
    )

    def __init__(self, leaves: list[Any], mask: list[bool], donated: list[bool]):
        self.arrays = mask
        self.static = [not array for array in mask]
        self.donated, self.kept = _split_arrays(mask, donated)
        # Floats are compared by their bits: 0.0 and -0.0 must differ, and a NaN must equal itself.
        self.floats = [leaf.__class__ is float for leaf in leaves]
        self.others = [
            is_static and not is_float
            for is_static, is_float in zip(self.static, self.floats, strict=True)
        ]
        self.complexes = any(leaf.__class__ is complex for leaf in leaves)
        count = sum(self.floats)
        self.pack = struct.Struct(f"{count}d").pack if count else None
        self.programs = BoundedTable(_MAX_PROGRAMS)

    def key(self, leaves: list[Any]) -> Any:
        """The static leaves as a key. Their types are not in it: they select the split already."""
        others = tuple(compress(leaves, self.others))
        if self.complexes:
            others = tuple(repr(x) if x.__class__ is complex else x for x in others)
        if self.pack is None:
            return others
        return others, self.pack(*compress(leaves, self.floats))

    def arguments(self, leaves: list[Any]) -> tuple[Any, ...]:
        """The arguments of a program: each donated array of a call, and the list of the others."""
        return *compress(leaves, self.donated), list(compress(leaves, self.kept))


class CallSplitByShapes(CallSplit):
    """A split whose key also contains the shapes of arrays and the current mesh.

    For `in_shardings` that are functions of a leaf, or rules.
    """

    __slots__ = ()

    def key(self, leaves: list[Any]) -> Any:
        shapes = tuple([(x.shape, x.dtype) for x in compress(leaves, self.arrays)])
        return super().key(leaves), shapes, jax.sharding.get_abstract_mesh()


class Programs:
    """The programs of one function, or of all callable PyTrees, with one set of options.

    It refers to the function weakly: when the function is freed, so are its programs.
    """

    __slots__ = ("__weakref__", "function", "known", "options", "quick", "splits")

    def __init__(self, function: Any, options: JitOptions):
        self.function = None if function is None else weakref.ref(function)
        self.options = options
        # `known`: by treedef and exact types of leaves, the fast path. `splits`: by treedef and the
        # types of static leaves only, since the types of arrays make no difference.
        self.known = BoundedTable(_MAX_SPLITS)
        self.splits = BoundedTable(_MAX_SPLITS)
        # For calls whose leaves are all arrays: there is nothing to split.
        self.quick: Any = None
        simple = options.donate == "none" and not options.places
        if self.function is not None and simple:
            self.quick = FirstCall(*quick_program(self.function, options), self._set_quick)

    def _set_quick(self, program: Any) -> None:
        self.quick = program

    def split(
        self,
        treedef: Any,
        leaves: list[Any],
        call: tuple[Any, ...],
        mask: list[bool] | None = None,
    ) -> CallSplit:
        """The split for a call whose exact types are not in `known`.

        `mask`: which leaves count as arrays, if not those that are arrays.
        """
        quick = mask is None
        mask = array_mask(leaves) if mask is None else mask
        static_types = tuple(
            [None if array else leaf.__class__ for leaf, array in zip(leaves, mask, strict=True)]
        )
        # A tracer has no memory that could be donated.
        traced = self.options.donate != "none" and any(isinstance(x, Tracer) for x in leaves)
        key = (treedef, static_types, traced)
        try:
            split = self.splits.get(key)
        except TypeError as error:
            raise unhashable(call, mask, error) from None
        if split is None:
            donated = [False] * len(leaves) if traced else self._donated(call, len(leaves))
            split = self.splits.add(key, self._make_split(leaves, mask, donated))
        if quick:
            self._note_types(treedef, leaves, split)
        return split

    def _make_split(self, leaves: list[Any], mask: list[bool], donated: list[bool]) -> CallSplit:
        given = self.options.in_shardings
        by_shapes = given is not None and depend_on_shapes(given.tree)
        return (CallSplitByShapes if by_shapes else CallSplit)(leaves, mask, donated)

    def _donated(self, call: tuple[Any, ...], size: int) -> list[bool]:
        fun = call[0] if self.function is None else self.function()
        return self.options.donated(fun, call, size)

    def explain(self, call: tuple[Any, ...], error: Exception) -> None:
        """**Raises:** `ValueError`, if the shardings of the arguments made the call fail."""
        if self.options.in_shardings is not None:
            fun = call[0] if self.function is None else self.function()
            explain_arguments(self.options, call, fun, error)

    def _note_types(self, treedef: Any, leaves: list[Any], split: CallSplit) -> None:
        """Add the split to `known`, if the types of the leaves tell which are arrays."""
        types = tuple(map(type, leaves))
        if all(cls in ARRAY_TYPES for cls in types):
            self.known.add((treedef, types), split)

    def program(self, split: CallSplit, leaves: list[Any], call: tuple[Any, ...]) -> Any:
        """The program for the static leaves of a call."""
        try:
            key = split.key(leaves)
            program = split.programs.get(key)
            if program is not None:
                return program
            shared = split.key(list(map(key_of_copies, leaves)))
            program = split.programs.get(shared)
        except TypeError as error:
            raise unhashable(call, split.arrays, error) from None
        if program is None:
            made = make_program(self.function, split, leaves, call, self.options)

            def replace(program: Any) -> None:
                split.programs.replace(key, program)
                split.programs.replace(shared, program)

            program = split.programs.add(shared, FirstCall(*made, replace))
        return split.programs.add(key, program)


def _split_arrays(mask: list[bool], donated: list[bool]) -> tuple[list[bool], list[bool]]:
    """For each leaf: is it a donated array, and is it an array that is kept.

    The first list is empty if nothing is donated: then `compress` has no work.
    """
    gives = [array and gone for array, gone in zip(mask, donated, strict=True)]
    kept = [array and not gone for array, gone in zip(mask, gives, strict=True)]
    return gives if any(gives) else [], kept


def make_program(
    function: Callable[[], Any] | None,
    split: CallSplit,
    leaves: list[Any],
    call: tuple[Any, ...],
    options: JitOptions,
) -> tuple[Any, Callable[[Any], Any]]:
    """A jitted function of the flat arguments from `CallSplit.arguments`, and the function that
    jitted it, so that a variant with checks is jitted with the same options."""
    treedef, mask = jtu.tree_structure(call), split.arrays
    static = list(compress(leaves, split.static))
    gone = [not kept for kept in compress(split.kept, mask)]

    # `flat` closes over the static leaves of the call that it is made for, and over no arrays. It
    # refers to the function weakly: `flat` lives in the table of that function.
    def flat(*args: Any) -> Any:
        *given, kept = args
        arrays = merge(gone, given, kept)
        whole = treedef.unflatten(merge(mask, arrays, static))
        if function is None:
            fun, args, kwargs = whole
        else:
            fun, (args, kwargs) = function(), whole
        observe(fun, args, kwargs)
        out = fun(*args, **kwargs)
        return sign(out if places is None else placed_results(out, places.tree))

    named = call[0] if function is None else function()
    name_like(flat, named)
    places, arguments = options.out_shardings, options.jit_arguments()
    if options.in_shardings is not None:
        arguments["in_shardings"] = split.arguments(shardings_of_call(options, call, named))
    stage: Callable[[Any], Any]
    if options.quiet and any(gone):
        place = None if places is None or not is_place(places.tree) else places.tree
        stage = functools.partial(Donating, options=arguments, result_place=place)
    else:
        numbers = tuple(range(sum(gone)))
        stage = functools.partial(jax.jit, donate_argnums=numbers, **arguments)
    return stage(flat), stage


def quick_program(
    function: Callable[[], Any], options: JitOptions
) -> tuple[Any, Callable[[Any], Any]]:
    """A jitted function of arguments whose leaves are arrays, and the function that jitted it.

    It returns the result itself if all leaves of it are arrays, else its arrays; and the signature.
    """

    def flat(*args: Any) -> Any:
        fun = function()
        observe(fun, args, {})
        out = fun(*args)
        arrays, signature = sign(out)
        return (out if signature.template is None else arrays), signature

    name_like(flat, function())
    stage = functools.partial(jax.jit, **options.jit_arguments())
    return stage(flat), stage


def name_like(flat: Any, function: Any) -> None:
    """Name a program after its function, for profiles and errors."""
    flat.__name__ = flat.__qualname__ = getattr(function, "__name__", type(function).__name__)


def unhashable(call: tuple[Any, ...], mask: list[bool], error: TypeError) -> Exception:
    """The error for a call with an unhashable static value; it names the path of the value."""
    for (path, leaf), array in zip(jtu.tree_leaves_with_path(call), mask, strict=True):
        if array:
            continue
        try:
            hash(leaf)
        except TypeError:
            return UnhashableStaticError(
                f"`filter_jit` got a {type(leaf).__name__} at {_where(path, call)}. Non-array "
                f"arguments are static and must be hashable ({error}). Pass an array, a tuple, "
                f"or a PyTree of these."
            )
    return UnhashableStaticError(
        f"`filter_jit` got a PyTree whose structure is not hashable: a static field, or the static "
        f"data of a custom node, is not hashable ({error}). Use tuples for lists there."
    )


def _where(path: tuple[Any, ...], call: tuple[Any, ...]) -> str:
    part = path[0].idx + (3 - len(call))
    inside = path_str(path[1:])
    if part == 0:
        return f"the function itself, {inside}"
    return f"{('args', 'kwargs')[part - 1]}{inside}"
