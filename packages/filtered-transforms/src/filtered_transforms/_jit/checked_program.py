"""Programs with run-time checks: their checks become results, which are read after each call."""

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
    """A program before its first call, which finds out whether it has checks.

    `replace` is called with what is to be called from then on: the program itself, if it has none.
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
        """What is called from now on; finds out which, for arguments like these."""
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
    """A program with checks, called as the program is.

    Inside of another program it is the program as it was: the outermost one carries the checks. In
    a `shard_map` it is the function, whose checks then stand in the body of the `shard_map`: where
    nobody carries them, there alone it is known that every shard comes by.
    """

    __slots__ = ("carried", "program")

    def __init__(self, program: Any, stage: Callable[[Any], Any]):
        self.program = program
        self.carried = stage(_carrying(program))

    def __call__(self, *args: Any) -> Any:
        if jit_is_disabled() or not all(map(is_concrete, jtu.tree_leaves(args))):
            return self.inside(*args)
        found = self.carried(*args)
        if found[1] and not is_concrete(found[1][0]):  # the function refers to something traced
            return self.inside(*args)
        return read_checks(*found)

    def inside(self, *args: Any) -> Any:
        in_shards = jax.sharding.get_abstract_mesh().manual_axes
        return (self.program.__wrapped__ if in_shards else self.program)(*args)

    def trace(self, *args: Any) -> Any:
        return self.program.trace(*args)


def read_checks(out: Any, report: list[Any], reader: "_Reader") -> Any:
    """What a program returned, once its checks were read in what it returned beside."""
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
        # Other arrays, other checks: there may be none. And what the function refers to of a
        # program around this one becomes an argument; then that program carries the checks.
        if carry is None or len(leaves) != len(jaxpr_input_types(jaxpr)):
            return program(*args), [], _Reader(None, False)
        carried = carry(jaxpr, leaves)
        out = jtu.tree_structure(traced.out_info).unflatten(carried.results)
        return out, carried.report, _Reader(carried.read, carried.left)

    flat.__name__ = flat.__qualname__ = program.__name__
    return flat


class _Reader:
    """How the report of a program is read. Travels as the `Signature` does, as a node."""

    __slots__ = ("read", "waits")

    def __init__(self, read: Callable[[list[Any]], None] | None, waits: bool):
        self.read = read
        self.waits = waits


jtu.register_pytree_node(_Reader, lambda reader: ((), reader), lambda reader, _: reader)
