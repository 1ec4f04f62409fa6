"""When a loop ends, besides its own condition, and the row of stacked arrays of each step."""

from typing import Any, NamedTuple

from .checkpoint_schedule import Schedule, in_turns, schedule
from .write_marks import Arrays

IN_CONSTS = "in consts"


class LoopEnd(NamedTuple):
    """When a loop ends, besides its own condition.

    - `length`: the number of steps, if it is known; then there is no other condition.
    - `limit`: the greatest number of steps, if there is one. `IN_CONSTS` stands for a traced one,
        which is the last of `consts`: derivative rules must not hold tracers.
    - `reverse`: whether step 0 takes the last row of the stacked inputs, as `jax.lax.scan` does.
        Only a loop of known length has rows.
    """

    length: int | None
    limit: int | str | None
    reverse: bool = False

    def most(self) -> int | None:
        """The greatest number of steps, if it is known while the loop is traced."""
        known = self.limit if self.length is None else self.length
        return known if isinstance(known, int) else None

    def in_turns(self, slots: int) -> bool:
        """Whether checkpoints are kept by `checkpoint_schedule.turns`."""
        return self.length is None and in_turns(slots, self.most())

    def schedule(self, slots: int) -> Schedule:
        """The schedule for `slots` checkpoints."""
        return schedule(slots, self.length, self.most())

    def limit_of(self, consts: Arrays) -> Any:
        """The greatest number of steps, if there is one, of a loop with these `consts`."""
        return consts[-1] if self.limit == IN_CONSTS else self.limit

    def row(self, i: Any) -> Any:
        """Which row of the stacked inputs and outputs belongs to step `i`."""
        return self.length - 1 - i if self.reverse and self.length is not None else i
