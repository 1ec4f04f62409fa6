"""`filter_scan`: a loop over arrays, of any kind."""

from collections.abc import Callable
from typing import Any, Literal, overload

import jax

from filtered_transforms._filters.static_nodes import check_callable, hold, release
from filtered_transforms._reverse_loops.loop_options import Caller, LoopOptions, choose
from filtered_transforms._reverse_loops.scan import Order, check_pair, run_scan, scan_length
from filtered_transforms._types import LoopKind, PyTree, R, T, X
from tree_surgery.extend import public

from .body_cache import BodyCache
from .carry_rule import next_carry, next_carry_with_buffers, of_held

_NAME = "filter_scan"
_CALLER = Caller(_NAME, "f", TypeError)


def _make_scan(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        given = release(carry)
        new, y = check_pair(get()(given, release(x)), _NAME)
        return next_carry(given, new, _NAME), hold(y)

    return body


_SCAN = BodyCache(_make_scan)


@overload
def filter_scan(
    f: Callable[[T, None], tuple[T, R]],
    init: T,
    xs: None = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    kind: LoopKind = "lax",
    buffers: Callable[[T], PyTree] | None = None,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@overload
def filter_scan(
    f: Callable[[T, X], tuple[T, R]],
    init: T,
    xs: X,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    kind: LoopKind = "lax",
    buffers: Callable[[T], PyTree] | None = None,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@public
def filter_scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    kind: LoopKind = "lax",
    buffers: Callable[[Any], Any] | None = None,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[Any, Any]:
    """`jax.lax.scan` with any PyTrees: a loop over arrays that carries a value and collects others.

    On trees of arrays, without the options after `*`, it is `jax.lax.scan`.

    **Arguments:**

    - `f`: a function `(carry, x) -> (carry, y)`, any callable.
    - `init`: the first carry. Its non-array leaves, Python numbers included, are static: `f` gets
        them, and must return them unchanged. A number that changes must be an array:
        `jnp.asarray(0)`. This holds for all `filter_*` loops of every `kind`.
    - `xs`: a tree whose arrays are scanned over, along their first axis. Each step gets
        the non-array leaves as they are.
    - `length`, `reverse`, `unroll`: as for `jax.lax.scan`. A checkpointed scan is not unrolled.
    - `kind`: how it is differentiated in reverse.
        - `"lax"`: as `jax.lax.scan`, which keeps what the derivative needs of each step.
        - `"bounded"`: the same: a scan is bounded.
        - `"checkpointed"`: in memory for `checkpoints` carries; derivatives in reverse mode, and in
            forward mode of that.
    - `buffers`: a function from the carry to the arrays in it (or trees of them) that are written
        index by index, as for `filter_while_loop`.
    - `checkpoints`: how many carries a checkpointed scan keeps at a time. By default so many that
        on the way back no step is run forward more than twice: about `sqrt(2 * length)`. `"all"`
        keeps the carry of each step, so that none is run again but to be differentiated.

    **Returns:**

    `(carry, ys)`: the last carry, and the arrays among the `y`s, stacked. The non-array
    leaves of `y` are returned once, as they are.

    **Raises:** `TypeError` if `f` changes the structure of the carry or a non-array leaf of it,
    with the path and both values; `ValueError` for options that contradict each other.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_scan

    def step(carry, x):
        new = carry | {"h": carry["activation"](carry["h"] + x)}
        return new, new["h"]

    init = {"h": jnp.array(0.0), "activation": jnp.abs}
    carry, ys = filter_scan(step, init, jnp.array([1.0, -3.0]))
    assert carry["activation"] is jnp.abs and ys.tolist() == [1.0, 2.0]

    @jax.grad
    def gradient(x):  # in memory for four carries
        xs = jnp.arange(1.0, 11.0)
        return filter_scan(lambda c, x: (c * x, None), x, xs, kind="checkpointed", checkpoints=4)[0]

    assert gradient(1.0) == 3628800
    ```
    """
    check_callable(_NAME, f)
    order = Order(reverse, unroll, _split_transpose)
    if kind == "lax" and buffers is None and checkpoints is None:
        body, start = _SCAN.of(f), hold(init)
        return release(jax.lax.scan(body, start, hold(xs), length=length, **order.options()))
    steps = scan_length(xs, length, _NAME)
    options = choose(_CALLER, kind, length=steps, checkpoints=checkpoints, buffers=of_held(buffers))
    check_order(options, order)

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        given = release(carry)
        new, y = check_pair(f(given, x), _NAME)
        return next_carry_with_buffers(given, new, _CALLER), hold(y)

    return release(run_scan(step, hold(init), xs, steps, options, order))


def check_order(options: LoopOptions, order: Order) -> None:
    """**Raises:** `ValueError` if a checkpointed loop is to be unrolled."""
    if options.kind != "checkpointed":
        return
    for option, default in (("unroll", 1), ("_split_transpose", False)):
        given = order.options()[option]
        if given is True or given not in (default, False):
            raise ValueError(
                f'`{options.caller.name}`: kind="checkpointed" has no use for `{option}`, got '
                f"{option}={given!r}. Leave it out: steps run one by one, so that each can be run "
                "again."
            )
