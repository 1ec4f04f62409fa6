"""Loops of unknown length of every kind: from the user's functions to flat lists of arrays."""

from collections.abc import Callable
from typing import Any

from .bounded import run_bounded
from .checkpointed import CheckpointedLoop, run_checkpointed
from .forward_only import run_lax
from .loop_end import IN_CONSTS, LoopEnd
from .loop_options import LoopOptions
from .loop_state import LoopState
from .traced_loop import TracedLoop, trace_exactly, trace_while
from .write_marks import Arrays


def run_while(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any, options: LoopOptions
) -> Any:
    """The last carry of `while cond_fun(carry): carry = body_fun(carry)`.

    Numbers in `init` become arrays; a caller for whom they are static wraps them (`hold`).
    """

    def trace(state: LoopState) -> tuple[Arrays, TracedLoop]:
        return trace_while(cond_fun, body_fun, state)

    if options.kind == "lax":
        state = LoopState(init, options)
        consts, loop = trace(state)
        out = run_lax(loop, options.max_steps, consts, state.carry, state.buffers)
        return state.result(*out)
    state, (consts, loop) = trace_exactly(init, options, trace)
    if options.kind == "bounded":
        return state.result(*run_bounded(loop, consts, options.max_steps, options.base, state))
    return state.result(*_checkpointed(loop, consts, options, state))


def _checkpointed(
    loop: TracedLoop, consts: Arrays, options: LoopOptions, state: LoopState
) -> tuple[Arrays, Arrays]:
    limit = options.max_steps
    if not isinstance(limit, int | None):
        consts, limit = [*consts, limit], IN_CONSTS
    end = LoopEnd(None, limit)

    def primal(loop: TracedLoop, consts: Any, carry: Any, buffers: Any, _: Any) -> Any:
        return *run_lax(loop, end.limit_of(consts), consts, carry, buffers), []

    what = CheckpointedLoop(loop, end, options.checkpoints, [], primal)
    return run_checkpointed(what, consts, [], state)[:2]
