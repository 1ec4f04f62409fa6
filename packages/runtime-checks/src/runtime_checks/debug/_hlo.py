"""Reads the text of a program that XLA has compiled: its instructions, and how often each runs.

`jax.stages.Compiled.as_text` is the only stable way to what the compiler decided. Of the text this
needs the names of computations, and of each instruction its type, opcode, operands, the
computations that it runs, `known_trip_count` of loops, and `op_name`. Seen to be so on JAX 0.7.2,
0.10.2 and 0.12.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_BITS = re.compile(r"^[a-z]+?(\d+)")
_OPERANDS = re.compile(r"%([\w.\-]+)")
_INNER = re.compile(r"(?:body|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# What runs its computation as a part of itself, so that what is in there is never stored.
_FUSED = ("fusion", "reduce", "map", "sort", "scatter", "select-and-scatter", "reduce-window")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a computation that is scheduled: the entry, the body of a loop, a branch.

    `times`: how often one call of the program runs it. Loops whose number of steps XLA does not
    know count as one step, and of branches each counts as run; then `is_exact` is false.
    """

    name: str
    opcode: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]  # dtype and shape of each result
    operands: tuple[str, ...]
    op_name: str
    times: int
    is_exact: bool

    @property
    def bytes(self) -> int:
        """Of all results, on one device."""
        return sum(bytes_of(*array) for array in self.arrays)


def bytes_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Of one array on one device."""
    return (math.prod(shape) * bits_of(dtype) + 7) // 8


def bits_of(dtype: str) -> int:
    """The size of an element, by the name that XLA has for its dtype."""
    if dtype in ("pred",):
        return 8
    if dtype in ("token", "opaque"):
        return 0
    found = _BITS.match(dtype.replace("bf", "f").replace("c64", "f64").replace("c128", "f128"))
    return int(found.group(1)) if found else 0


def scheduled(text: str) -> Iterator[Instruction]:
    """The instructions that run, those of the entry first, then of each computation it runs."""
    computations, entry = _computations(text)
    todo = [(entry, 1, True)]
    while todo:
        name, times, is_exact = todo.pop(0)
        for line in computations.get(name, ()):
            instruction, inner, trips = _parse(line, times, is_exact)
            if instruction is None:
                continue
            yield instruction
            if instruction.opcode not in _FUSED:
                known = {"while": trips is not None, "conditional": len(inner) < 2}.get(
                    instruction.opcode, True
                )
                todo += [(each, times * (trips or 1), is_exact and known) for each in inner]


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    found: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header and not line.startswith(" ") and " = " not in line.partition("(")[0]:
            lines = found.setdefault(header.group(2), [])
            entry = header.group(2) if header.group(1) else entry
        elif line.startswith("  "):
            lines.append(line.strip())
    return found, entry


def _parse(
    line: str, times: int, is_exact: bool
) -> tuple[Instruction | None, list[str], int | None]:
    named = _INSTRUCTION.match(line)
    if named is None:
        return None, [], None
    name, rest = named.groups()
    type_end = _end_of_type(rest)
    kind, _, call = rest[type_end:].strip().partition("(")
    arguments, _, attributes = call.partition(")")
    arrays = tuple(
        (dtype, tuple(int(n) for n in dims.split(",") if n))
        for dtype, dims in _ARRAY.findall(rest[:type_end])
    )
    op_name = _OP_NAME.search(attributes)
    trips = _TRIPS.search(attributes)
    branches = _BRANCHES.search(attributes)
    inner = [*_INNER.findall(attributes), *_OPERANDS.findall(branches.group(1) if branches else "")]
    instruction = Instruction(
        name,
        kind,
        arrays,
        tuple(_OPERANDS.findall(arguments)),
        op_name.group(1) if op_name else "",
        times,
        is_exact,
    )
    return instruction, inner, int(trips.group(1)) if trips else None


def _end_of_type(text: str) -> int:
    """Where the type of a result ends: a tuple in parentheses, or all up to a space."""
    if not text.startswith("("):
        return text.index(" ")
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return i + 1
    return len(text)
