"""The rule of the `filter_*` loops about their carry, of whatever kind the loop is.

Arrays in the carry vary. All else, Python numbers included, is static: the function of the loop is
given it and must return it as it is. So it is wrapped in nodes without children (`hold`), which JAX
takes for structure, and only unwrapped for the user's functions.
"""

from collections.abc import Callable
from typing import Any

from filtered_transforms._filters.static_nodes import release
from filtered_transforms._filters.structure_errors import hold_like
from filtered_transforms._reverse_loops.loop_options import Caller
from filtered_transforms._reverse_loops.loop_state import check_buffers


def next_carry(given: Any, out: Any, name: str) -> Any:
    """What the function of a loop made of the carry `given`, for the loop.

    **Raises:** `TypeError` if its structure differs from that of `given`, or a non-array leaf does.
    """
    return hold_like(given, out, name, "the carry")


def next_carry_with_buffers(given: Any, out: Any, caller: Caller) -> Any:
    """As `next_carry`. **Raises:** `TypeError` if a buffer does not stand where it stood, too."""
    check_buffers(given, out, caller)
    return next_carry(given, out, caller.name)


def of_held(select: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """A function of the carry, as a function of the carry that the loop sees."""
    return None if select is None else lambda held: select(release(held))
