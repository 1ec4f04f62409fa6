"""`filter_scan`, `filter_while_loop`, `filter_fori_loop`: loops with a carry."""

from collections.abc import Callable
from typing import Any, overload

import jax

from filtered_transforms._filters.static_nodes import Bodies, check_callable, hold, release
from filtered_transforms._filters.structure_errors import hold_like
from filtered_transforms._types import R, Scalar, T, X
from tree_surgery.extend import public

_CARRY = "the carry"


def _make_scan(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        given = release(carry)
        out = get()(given, release(x))
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                "`filter_scan`: the function must return a pair `(carry, y)`, got a "
                f"{type(out).__name__}."
            )
        return hold_like(given, out[0], "filter_scan", _CARRY), hold(out[1])

    return body


def _make_while(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(carry: Any) -> Any:
        given = release(carry)
        return hold_like(given, get()(given), "filter_while_loop", _CARRY)

    return body


def _make_fori(get: Callable[[], Any]) -> Callable[..., Any]:
    def body(i: Any, carry: Any) -> Any:
        given = release(carry)
        return hold_like(given, get()(i, given), "filter_fori_loop", _CARRY)

    return body


def _make_condition(get: Callable[[], Any]) -> Callable[..., Any]:
    def condition(carry: Any) -> Any:
        return get()(release(carry))

    return condition


_SCAN = Bodies(_make_scan)
_WHILE = Bodies(_make_while)
_FORI = Bodies(_make_fori)
_CONDITION = Bodies(_make_condition)


@overload
def filter_scan(
    f: Callable[[T, None], tuple[T, R]],
    init: T,
    xs: None = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
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
) -> tuple[Any, Any]:
    """`jax.lax.scan` with any PyTrees: a loop over arrays that carries a value and collects others.

    On trees of arrays it is `jax.lax.scan`.

    **Arguments:**

    - `f`: a function `(carry, x) -> (carry, y)`, any callable.
    - `init`: the first carry. What is no array in it, Python numbers included, is static: `f` is
        given it, and must return it as it is. A number that changes must be an array:
        `jnp.asarray(0)`.
    - `xs`: a tree whose arrays are scanned over, along their first axis. What is no array is given
        to `f` in each step.
    - `length`, `reverse`, `unroll`: as for `jax.lax.scan`.

    **Returns:**

    `(carry, ys)`: the last carry, and the arrays among the `y`s, stacked. What is no array in `y`
    is returned once, as it is.

    **Raises:** `TypeError` if `f` changes the structure of the carry or what is no array in it,
    with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_scan

    def step(carry, x):
        new = carry | {"h": carry["activation"](carry["h"] + x)}
        return new, new["h"]

    init = {"h": jnp.array(0.0), "activation": jnp.abs}
    carry, ys = filter_scan(step, init, jnp.array([1.0, -3.0]))
    assert carry["activation"] is jnp.abs and ys.tolist() == [1.0, 2.0]
    ```
    """
    check_callable("filter_scan", f)
    return release(
        jax.lax.scan(
            _SCAN.of(f),
            hold(init),
            hold(xs),
            length=length,
            reverse=reverse,
            unroll=unroll,
            _split_transpose=_split_transpose,
        )
    )


@public
def filter_while_loop(
    cond_fun: Callable[[T], Scalar], body_fun: Callable[[T], T], init_val: T
) -> T:
    """`jax.lax.while_loop` with any PyTrees: a loop for as long as a condition holds.

    On trees of arrays it is `jax.lax.while_loop`.

    **Arguments:**

    - `cond_fun`: a function from the carry to a scalar `bool`.
    - `body_fun`: a function from the carry to the next.
    - `init_val`: the first carry; what is no array in it is static, as for `filter_scan`.

    **Returns:** the last carry.

    **Raises:** `TypeError` if `body_fun` changes the structure of the carry or what is no array in
    it, with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_while_loop

    out, name = filter_while_loop(
        lambda c: c[0] < 10, lambda c: (c[0] * 2, c[1]), (jnp.array(3), "doubled")
    )
    assert out == 12 and name == "doubled"
    ```
    """
    check_callable("filter_while_loop", cond_fun)
    check_callable("filter_while_loop", body_fun)
    return release(jax.lax.while_loop(_CONDITION.of(cond_fun), _WHILE.of(body_fun), hold(init_val)))


@public
def filter_fori_loop(
    lower: Scalar,
    upper: Scalar,
    body_fun: Callable[[jax.Array, T], T],
    init_val: T,
    *,
    unroll: int | bool | None = None,
) -> T:
    """`jax.lax.fori_loop` with any PyTrees: a loop over a range of integers.

    On trees of arrays it is `jax.lax.fori_loop`.

    **Arguments:**

    - `lower`, `upper`: the range, integers. If they are no arrays, the loop can be differentiated
        in reverse mode.
    - `body_fun`: a function `(i, carry) -> carry`.
    - `init_val`: the first carry; what is no array in it is static, as for `filter_scan`.
    - `unroll`: as for `jax.lax.fori_loop`.

    **Returns:** the last carry.

    **Raises:** `TypeError` if `body_fun` changes the structure of the carry or what is no array in
    it, with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_fori_loop

    total, name = filter_fori_loop(0, 4, lambda i, c: (c[0] + i, c[1]), (jnp.array(0), "sum"))
    assert total == 6 and name == "sum"
    ```
    """
    check_callable("filter_fori_loop", body_fun)
    return release(
        jax.lax.fori_loop(lower, upper, _FORI.of(body_fun), hold(init_val), unroll=unroll)
    )
