"""`while_loop`: a loop of unknown length that can be differentiated in reverse."""

import operator
from collections.abc import Callable
from typing import Any, overload

from filtered_transforms._filters.static_nodes import check_callable
from filtered_transforms._types import LoopKind, PyTree, Scalar, T
from tree_surgery.extend import public

from .bounded import run_bounded
from .checkpoint_schedule import default_checkpoints
from .checkpointed import IN_CONSTS, Ends, checkpointed
from .forward_only import run_lax
from .loop_state import LoopState
from .traced_loop import TracedLoop, trace_exactly, trace_while
from .write_marks import Arrays

_MOST = 2**31 - 1  # counters are of 32 bits


@overload
def while_loop(
    cond_fun: Callable[[T], Scalar],
    body_fun: Callable[[T], T],
    init_val: T,
    *,
    max_steps: int | None = None,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | None = None,
    base: int | None = None,
) -> T: ...
@overload  # numbers in the first state become arrays
def while_loop(
    cond_fun: Callable[[T], Scalar],
    body_fun: Callable[[T], T],
    init_val: PyTree,
    *,
    max_steps: int | None = None,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | None = None,
    base: int | None = None,
) -> T: ...
@public
def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    max_steps: int | None = None,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | None = None,
    base: int | None = None,
) -> Any:
    """`jax.lax.while_loop` that can be differentiated in reverse, in memory that you choose.

    **Arguments:**

    - `cond_fun`: a function from the state to a scalar `bool`.
    - `body_fun`: a function from the state to the next.
    - `init_val`: the first state. Numbers in it become arrays; what else is no array is static, and
        `body_fun` must return it as it is.
    - `max_steps`: the loop ends after so many steps, whatever `cond_fun` says. `None`: no limit.
    - `buffers`: a function from the state to those arrays in it (or trees of them) that are written
        place by place. What `cond_fun` and `body_fun` see in their stead can be read as `b[i]` and
        written as `b = b.at[i].set(x)`, or `.set(x, pred=...)`, and nothing else. They are not
        copied from step to step, nor kept for the way back. **No place may be written twice**; this
        is not checked. A place that is read before it is written holds what it held before the
        loop.
    - `kind`: what it is made of.
        - `"lax"`: as `jax.lax.while_loop`. Derivatives in forward mode only.
        - `"bounded"`: derivatives in all modes, of any order, in memory proportional to the square
            root of `max_steps`, which has to be given.
        - `"checkpointed"`: derivatives in reverse mode, and in forward mode of that, in memory for
            `checkpoints` states, whatever the number of steps.
    - `checkpoints`: how many states a checkpointed loop keeps at a time. By default so many that on
        the way back no step is run forward more than twice: about `sqrt(2 * max_steps)`.
    - `base`: a bounded loop is made of blocks of at least so many steps; 16 by default.

    **Returns:** the last state.

    **Raises:** `ValueError` if `body_fun` changes the structure or the type of the state, for a
    kind that is none, without `max_steps` (or `checkpoints`) where it is needed, and for
    `checkpoints` or `base` where the kind has no use for it (`extend.while_loop` passes over that);
    `TypeError` if `cond_fun` does not return a scalar `bool`, or if `body_fun` changes what is no
    array.

    Under `vmap` each example stops by itself: it keeps its state from then on. The loop runs as
    long as any example does.

    In reverse, a checkpointed loop of `n` steps with `s` states runs each step forward at most `r`
    times more, with the least `r` for which `n <= C(s + r, r)`: two with the default, none if
    there are as many checkpoints as `max_steps`. Each step is then run once more to be
    differentiated. A read `b[i]` of a buffer costs, on the way back, time proportional to the size
    of the buffer if what it held before the loop is differentiated, or if the read stands within a
    branch, a loop or a jitted function of the body; else not.

    The methods are those of Griewank and Walther, *Algorithm 799: revolve* (2000); Wang, Moin and
    Iaccarino, *Minimal repetition dynamic checkpointing algorithm for unsteady adjoint calculation*
    (2009); Stumm and Walther, *New algorithms for optimal online checkpointing* (2010).

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import while_loop

    @jax.grad
    def gradient(x):
        def step(state):
            i, y, seen = state
            return i + 1, y * y, seen.at[i].set(y)

        init = (0, x, jnp.zeros(8))
        _, y, seen = while_loop(
            lambda state: state[1] < 100.0,
            step,
            init,
            max_steps=8,
            buffers=lambda state: state[2],
            kind="checkpointed",
        )
        return y + seen.sum()

    # 2, 4, 16, 256
    assert gradient(2.0) == 8 * 2.0**7 + 1 + 2 * 2.0 + 4 * 2.0**3
    ```
    """
    check_callable("while_loop", cond_fun)
    check_callable("while_loop", body_fun)
    if kind not in ("lax", "bounded", "checkpointed"):
        raise ValueError(
            f"Unrecognised kind of while loop {kind!r}: "
            'expected "lax", "bounded" or "checkpointed".'
        )
    check_use("while_loop", kind, "checkpointed", "checkpoints", checkpoints)
    check_use("while_loop", kind, "bounded", "base", base)
    most = None if max_steps is None else _steps(max_steps, kind)

    def trace(state: LoopState) -> tuple[Arrays, TracedLoop]:
        return trace_while(cond_fun, body_fun, state)

    def begin(timed: bool) -> LoopState:
        return LoopState(init_val, buffers, "while_loop", track=True, timed=timed)

    if kind == "lax":
        state = LoopState(init_val, buffers, "while_loop")
        consts, loop = trace(state)
        return state.result(*run_lax(loop, most, consts, state.carry, state.buffers))
    state, (consts, loop) = trace_exactly(begin, trace)
    if kind == "bounded":
        if most is None:
            raise ValueError(
                'while_loop: kind="bounded" requires `max_steps` to be specified; '
                '"checkpointed" does not, if `checkpoints` is.'
            )
        out = run_bounded(loop, consts, most, 16 if base is None else base, state)
    else:
        if checkpoints is None:
            if not isinstance(most, int):
                raise ValueError(
                    'while_loop: kind="checkpointed" requires `max_steps` or `checkpoints` to be '
                    "specified, which is how much memory it takes. A traced `max_steps` does not "
                    "tell."
                )
            checkpoints = default_checkpoints(most)
        if not isinstance(most, int | None):
            consts, most = [*consts, most], IN_CONSTS
        ends = Ends(None, most)

        def primal(loop: TracedLoop, consts: Any, carry: Any, buffers: Any, _: Any) -> Any:
            return *run_lax(loop, ends.limit_of(consts), consts, carry, buffers), []

        count = check_checkpoints(checkpoints)
        out = checkpointed(loop, consts, [], [], ends, count, state, primal)[:2]
    return state.result(*out)


def _steps(max_steps: Any, kind: str) -> Any:
    try:
        found = operator.index(max_steps)
    except TypeError:
        if kind == "bounded":
            raise
        return max_steps  # traced
    if found < 0:
        raise ValueError(f"`max_steps` must be a non-negative integer, got {found}.")
    return min(found, _MOST)


def check_use(name: str, kind: str, needed: str, option: str, value: Any) -> None:
    """**Raises:** `ValueError` for an option that only another kind of loop has a use for."""
    if value is not None and kind != needed:
        raise ValueError(
            f'`{name}`: only kind="{needed}" has a use for `{option}`, got {option}={value!r} with '
            f"kind={kind!r}. Leave it out."
        )


def check_checkpoints(checkpoints: Any) -> int:
    """**Raises:** `ValueError` if it is no positive integer."""
    found = operator.index(checkpoints)
    if found < 1:
        raise ValueError(f"Must have at least one checkpoint, got {checkpoints}.")
    return found
