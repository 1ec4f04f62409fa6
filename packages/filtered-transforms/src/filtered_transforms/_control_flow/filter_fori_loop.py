"""`filter_fori_loop`: a loop over a range of integers, of any kind."""

import functools
import operator
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from filtered_transforms._filters.static_nodes import check_callable, hold, release
from filtered_transforms._filters.structure_errors import describe
from filtered_transforms._reverse_loops.loop_options import Caller, choose
from filtered_transforms._reverse_loops.scan import Order, run_scan
from filtered_transforms._reverse_loops.while_loop import run_while
from filtered_transforms._types import LoopKind, PyTree, Scalar, T
from tree_surgery.extend import public

from .body_cache import BodyCache
from .carry_rule import next_carry, next_carry_with_buffers, of_held
from .filter_scan import check_order

_NAME = "filter_fori_loop"
# What the loop carries is a pair, of the index and of the carry of the user: one key of each path.
_CALLER = Caller(_NAME, "body_fun", TypeError, depth=1)


def _make_fori(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(i: Any, carry: Any) -> Any:
        given = release(carry)
        return next_carry(given, get()(i, given), _NAME)

    return body


_FORI = BodyCache(_make_fori)


@public
def filter_fori_loop(
    lower: Scalar,
    upper: Scalar,
    body_fun: Callable[[jax.Array, T], T],
    init_val: T,
    *,
    unroll: int | bool | None = None,
    kind: LoopKind = "lax",
    max_steps: int | jax.Array | None = None,
    buffers: Callable[[T], PyTree] | None = None,
    checkpoints: int | Literal["all"] | None = None,
) -> T:
    """`jax.lax.fori_loop` with any PyTrees: a loop over a range of integers.

    On trees of arrays, without the options after `unroll`, it is `jax.lax.fori_loop`.

    **Arguments:**

    - `lower`, `upper`: the range, integers.
    - `body_fun`: a function `(i, carry) -> carry`.
    - `init_val`: the first carry; its non-array leaves are static, as for `filter_scan`.
    - `unroll`: as for `jax.lax.fori_loop`, if the range is not traced and the loop not
        differentiated by a kind of its own.
    - `kind`: how it is differentiated, as for `filter_while_loop`. With `"lax"` it has reverse mode
        if the range is not traced; `"bounded"` and `"checkpointed"` have it always.
    - `max_steps`: the loop ends after so many steps, whatever the range is. With a traced range,
        `"bounded"` needs it, and `"checkpointed"` needs it or `checkpoints`.
    - `buffers`, `checkpoints`: as for `filter_while_loop`.

    **Returns:** the last carry.

    **Raises:** `TypeError` if `body_fun` changes the structure of the carry or a non-array leaf of
    it, with the path and both values; `ValueError` for an unknown kind, for options that
    contradict each other, and without `max_steps` (or `checkpoints`) where it is needed.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms import filter_fori_loop

    total, name = filter_fori_loop(0, 4, lambda i, c: (c[0] + i, c[1]), (jnp.array(0), "sum"))
    assert total == 6 and name == "sum"

    @jax.jit  # so that the bound is traced
    def power(x, n):
        times_x = lambda i, y: x * y
        return filter_fori_loop(0, n, times_x, jnp.ones(()), kind="checkpointed", max_steps=9)

    assert jax.grad(power)(2.0, 5) == 80
    ```
    """
    check_callable(_NAME, body_fun)
    is_plain = max_steps is None and buffers is None and checkpoints is None
    if kind == "lax" and is_plain:
        body = _FORI.of(body_fun)
        return release(jax.lax.fori_loop(lower, upper, body, hold(init_val), unroll=unroll))
    chosen = functools.partial(
        choose, _CALLER, kind, checkpoints=checkpoints, buffers=_of_pair(of_held(buffers))
    )
    begin, length = _known_range(lower, upper, max_steps)
    order = Order(unroll=1 if unroll is None else unroll)

    def step(pair: Any) -> Any:
        i, held = pair
        carry = release(held)
        return i + 1, next_carry_with_buffers(carry, body_fun(i, carry), _CALLER)

    if length is not None and kind != "bounded":
        options = chosen(length=length)
        check_order(options, order)
        pair = begin, hold(init_val)
        last = run_scan(lambda pair, _: (step(pair), None), pair, None, length, options, order)[0]
        return release(last[1])
    _check_not_unrolled(order)
    options = chosen(max_steps=max_steps if length is None else length)
    first, end = _bounds(lower, upper)
    return release(run_while(lambda pair: pair[0] < end, step, (first, hold(init_val)), options)[1])


def _of_pair(buffers: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if buffers is None else lambda pair: buffers(pair[1])


def _known_range(lower: Any, upper: Any, max_steps: Any) -> tuple[int, int | None]:
    """The first index, and how many steps there are; `None` if that is not known."""
    try:
        begin, end = operator.index(lower), operator.index(upper)
        most = None if max_steps is None else operator.index(max_steps)
    except TypeError:
        return 0, None
    if most is not None and most < 0:
        return 0, None  # an error, which `choose` raises
    length = max(end - begin, 0)
    return begin, length if most is None else min(length, most)


def _check_not_unrolled(order: Order) -> None:
    if order.unroll is True or order.unroll not in (1, False):
        raise ValueError(
            f"`{_NAME}`: got unroll={order.unroll!r}. It needs a range that is not traced, and "
            'kind="lax". Leave it out.'
        )


def _bounds(lower: Any, upper: Any) -> tuple[Any, Any]:
    """The range, as integers of one type, chosen as `jax.lax.fori_loop` chooses it."""
    first, end = jnp.asarray(lower), jnp.asarray(upper)
    for name, x in (("lower", first), ("upper", end)):
        if x.shape != () or not jnp.issubdtype(x.dtype, jnp.integer):
            raise TypeError(f"`{_NAME}`: `{name}` must be an integer, got {describe(x)}.")
    if first.dtype == end.dtype:
        return first, end
    if first.weak_type != end.weak_type:
        dtype = end.dtype if first.weak_type else first.dtype
        return first.astype(dtype), end.astype(dtype)
    raise TypeError(
        f"`{_NAME}`: `lower` and `upper` must be of one type, got {first.dtype} and {end.dtype}. "
        "Convert one by `.astype`."
    )
