"""`filter_while_loop`: a loop of unknown length, of any kind."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from filtered_transforms._filters.static_nodes import check_callable, hold, release
from filtered_transforms._reverse_loops.loop_options import Caller, choose
from filtered_transforms._reverse_loops.while_loop import run_while
from filtered_transforms._types import LoopKind, PyTree, Scalar, T
from tree_surgery.extend import public

from .body_cache import BodyCache
from .carry_rule import next_carry, next_carry_with_buffers, of_held

_NAME = "filter_while_loop"
_CALLER = Caller(_NAME, "body_fun", TypeError)


def _make_while(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(carry: Any) -> Any:
        given = release(carry)
        return next_carry(given, get()(given), _NAME)

    return body


def _make_condition(get: Callable[[], Any]) -> Callable[..., Any]:
    def condition(carry: Any) -> Any:
        return get()(release(carry))

    return condition


_WHILE = BodyCache(_make_while)
_CONDITION = BodyCache(_make_condition)


@public
def filter_while_loop(
    cond_fun: Callable[[T], Scalar],
    body_fun: Callable[[T], T],
    init_val: T,
    *,
    kind: LoopKind = "lax",
    max_steps: int | jax.Array | None = None,
    buffers: Callable[[T], PyTree] | None = None,
    checkpoints: int | Literal["all"] | None = None,
) -> T:
    """`jax.lax.while_loop` with any PyTrees: a loop for as long as a condition holds.

    On trees of arrays, without the options after `*`, it is `jax.lax.while_loop`.

    **Arguments:**

    - `cond_fun`: a function from the carry to a scalar `bool`.
    - `body_fun`: a function from the carry to the next.
    - `init_val`: the first carry; its non-array leaves are static, as for `filter_scan`.
    - `kind`: how it is differentiated.
        - `"lax"`: as `jax.lax.while_loop`. Derivatives in forward mode only.
        - `"bounded"`: derivatives in all modes, of any order, in memory proportional to the square
            root of `max_steps`, which has to be given.
        - `"checkpointed"`: derivatives in reverse mode, and in forward mode of that, in memory for
            `checkpoints` states, whatever the number of steps.
    - `max_steps`: the loop ends after so many steps, whatever `cond_fun` says. `None`: no limit.
    - `buffers`: a function from the carry to those arrays in it (or trees of them) that are written
        index by index. What `cond_fun` and `body_fun` see in their stead can be read as `b[i]` and
        written as `b = b.at[i].set(x)`, or `.set(x, pred=...)`, and nothing else. They are not
        copied from step to step, nor kept for the way back. **No index may be written twice**; this
        is not checked. An index that is read before it is written holds what it held before the
        loop.
    - `checkpoints`: how many states a checkpointed loop keeps at a time. By default so many that on
        the way back no step is run forward more than twice: about `sqrt(2 * max_steps)`. `"all"`
        keeps one for each of `max_steps`.

    **Returns:** the last carry.

    **Raises:** `TypeError` if `body_fun` changes the structure of the carry or a non-array leaf of
    it, with the path and both values, or if `cond_fun` does not return a scalar `bool`;
    `ValueError` for an unknown kind, for options that contradict each other, and without
    `max_steps` (or `checkpoints`) where it is needed.

    Under `vmap` each example stops by itself: it keeps its carry from then on. The loop runs as
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
    from filtered_transforms import filter_while_loop

    out, name = filter_while_loop(
        lambda c: c[0] < 10, lambda c: (c[0] * 2, c[1]), (jnp.array(3), "doubled")
    )
    assert out == 12 and name == "doubled"

    @jax.grad
    def gradient(x):
        def step(state):
            i, y, seen = state
            return i + 1, y * y, seen.at[i].set(y)

        _, y, seen = filter_while_loop(
            lambda state: state[1] < 100.0,
            step,
            (jnp.array(0), x, jnp.zeros(8)),
            kind="checkpointed",
            max_steps=8,
            buffers=lambda state: state[2],
        )
        return y + seen.sum()

    # 2, 4, 16, 256
    assert gradient(2.0) == 8 * 2.0**7 + 1 + 2 * 2.0 + 4 * 2.0**3
    ```
    """
    check_callable(_NAME, cond_fun)
    check_callable(_NAME, body_fun)
    if kind == "lax" and max_steps is None and buffers is None and checkpoints is None:
        condition, body = _CONDITION.of(cond_fun), _WHILE.of(body_fun)
        return release(jax.lax.while_loop(condition, body, hold(init_val)))
    options = choose(
        _CALLER, kind, max_steps=max_steps, checkpoints=checkpoints, buffers=of_held(buffers)
    )

    def go_on(carry: Any) -> Any:
        return cond_fun(release(carry))

    def step(carry: Any) -> Any:
        given = release(carry)
        return next_carry_with_buffers(given, body_fun(given), _CALLER)

    return release(run_while(go_on, step, hold(init_val), options))
