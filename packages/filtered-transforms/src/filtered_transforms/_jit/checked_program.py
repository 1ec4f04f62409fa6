"""Programs with run-time checks: the checks become outputs, which are read after each call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._jax.jaxprs import jaxpr_input_types
from filtered_transforms._jax.jitted import program_of
from filtered_transforms._jax.tracers import is_concrete

from .check_registry import any_checks, carry_of, wait


def jit_is_disabled() -> bool:
    """Whether `jax.disable_jit` holds."""
    return jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]  (set by JAX)


class FirstCall:
    """A program before its first call, which determines whether it has checks.

    `replace` is called with the callable for all later calls: the program itself if it has no
    checks, else a `CheckedProgram`.
    """

    __slots__ = ("_chosen", "program", "replace", "stage")

    def __init__(self, program: Any, stage: Callable[[Any], Any], replace: Callable[[Any], None]):
        self.program = program
        self.stage = stage
        self.replace = replace
        self._chosen: Any = None

    def __call__(self, *args: Any) -> Any:
        if jit_is_disabled():  # there is no program to read
            return self.program(*args)
        return self.chosen(*args)(*args)

    def chosen(self, *args: Any) -> Any:
        """The callable for all later calls, chosen by a trace with these arguments."""
        if self._chosen is None:
            chosen = self.program
            if any_checks() and carry_of(program_of(chosen.trace(*args))) is not None:
                chosen = CheckedProgram(chosen, self.stage)
            self._chosen = chosen
        self.replace(self._chosen)
        return self._chosen

    def trace(self, *args: Any) -> Any:
        return self.program.trace(*args)


class CheckedProgram:
    """A jitted program with checks.

    On concrete arguments it runs the functionalised program and reads the checks. Under an outer
    trace it calls the original program; the outermost one reads the checks. Inside `shard_map` it
    calls the Python function: only there is it known that all shards execute the check.
    """

    __slots__ = ("carried", "program")

    def __init__(self, program: Any, stage: Callable[[Any], Any]):
        self.program = program
        self.carried = stage(_carrying(program))

    def __call__(self, *args: Any) -> Any:
        if jit_is_disabled() or not all(map(is_concrete, jtu.tree_leaves(args))):
            return self.inside(*args)
        found = self.carried(*args)
        if found[1] and not is_concrete(found[1][0]):  # the function closes over tracers
            return self.inside(*args)
        return read_checks(*found)

    def inside(self, *args: Any) -> Any:
        in_shards = jax.sharding.get_abstract_mesh().manual_axes
        return (self.program.__wrapped__ if in_shards else self.program)(*args)

    def trace(self, *args: Any) -> Any:
        return self.program.trace(*args)


def read_checks(out: Any, report: list[Any], reader: "_Reader") -> Any:
    """Raise the first failed check in `report`; otherwise return the program's own output."""
    if reader.waits:
        wait(jtu.tree_leaves(out))
    if reader.read is not None:
        reader.read(report)
    out[1].has_checks = False  # the signature: there is nothing left to wait for
    return out


def _carrying(program: Any) -> Callable[..., Any]:
    def flat(*args: Any) -> Any:
        traced = program.trace(*args)
        jaxpr, leaves = program_of(traced), jtu.tree_leaves(args)
        carry = carry_of(jaxpr)
        # Retraced for other shapes, the function may contain no check. If it closes over tracers of
        # an outer program, these become extra inputs; then the outer program reads the checks.
        if carry is None or len(leaves) != len(jaxpr_input_types(jaxpr)):
            return program(*args), [], _Reader(None, False)
        carried = carry(jaxpr, leaves)
        out = jtu.tree_structure(traced.out_info).unflatten(carried.results)
        return out, carried.report, _Reader(carried.read, carried.left)

    flat.__name__ = flat.__qualname__ = program.__name__
    return flat


class _Reader:
    """How to read the report of a program. A childless node in its output, like the `Signature`."""

    __slots__ = ("read", "waits")

    def __init__(self, read: Callable[[list[Any]], None] | None, waits: bool):
        self.read = read
        self.waits = waits


jtu.register_pytree_node(_Reader, lambda reader: ((), reader), lambda reader, _: reader)
