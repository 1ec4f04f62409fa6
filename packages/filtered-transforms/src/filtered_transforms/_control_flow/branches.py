"""`filter_cond`, `filter_switch`: one of several functions is run."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import jax

from filtered_transforms._filters.eval_shape import filter_eval_shape
from filtered_transforms._filters.static_nodes import check_callable, hold, release
from filtered_transforms._filters.structure_errors import agreement
from filtered_transforms._types import R, Scalar, T, Ts
from tree_surgery.extend import public

from .body_cache import BodyCache


def _make(get: Callable[[], Any], numbers: frozenset[int]) -> Callable[..., Any]:
    def branch(*operands: Any) -> Any:
        return hold(get()(*release(operands)), numbers)

    return branch


_BRANCHES = BodyCache(_make)


def _choose(
    name: str,
    of_jax: Callable[..., Any],
    branches: list[Any],
    operands: tuple[Any, ...],
    operand: Any,
) -> Any:
    for branch in branches:
        check_callable(name, branch)
    if operand is not ...:
        if operands:
            raise TypeError(f"`{name}` takes operands by position or as `operand=`, not both.")
        operands = (operand,)
    held = hold(operands)

    def call(numbers: frozenset[int]) -> Any:
        return release(of_jax([_BRANCHES.of(branch, numbers) for branch in branches], held))

    try:
        return call(frozenset())
    except TypeError as error:
        failure = error
    # Either the branches do not agree, or one of them has failed. Only now is the time spent to
    # trace them one by one.
    try:
        outs = [filter_eval_shape(branch, *operands) for branch in branches]
    except Exception:
        raise failure from None
    numbers = agreement(name, outs)
    if not numbers:
        raise failure
    return call(numbers)


@overload
def filter_cond(
    pred: Scalar,
    true_fun: Callable[[T], R],
    false_fun: Callable[[T], R],
    *,
    operand: T,
) -> R: ...
@overload
def filter_cond(
    pred: Scalar, true_fun: Callable[[*Ts], R], false_fun: Callable[[*Ts], R], *operands: *Ts
) -> R: ...
@public
def filter_cond(
    pred: Scalar,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = ...,
) -> Any:
    """`jax.lax.cond` with any PyTrees: the result of one of two functions, as `pred` says.

    On trees of arrays it is `jax.lax.cond`.

    **Arguments:**

    - `pred`: a scalar array, or a `bool`.
    - `true_fun`, `false_fun`: any callables. Both are traced.
    - `*operands`: their arguments, any PyTrees.
    - `operand`: the only argument, in place of `*operands`.

    **Returns:**

    The result of `true_fun` or `false_fun`. Its non-array leaves must be the same in both. Where
    one has an array and the other a Python number, the number becomes an array.

    **Raises:** `TypeError` if the results do not agree, with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_cond

    model = {"weight": jnp.ones(2), "activation": jnp.tanh}
    out = filter_cond(
        jnp.array(True), lambda m: m, lambda m: m | {"weight": -m["weight"]}, model
    )
    assert out["activation"] is jnp.tanh and out["weight"].tolist() == [1.0, 1.0]
    ```
    """

    def of_jax(branches: list[Any], held: tuple[Any, ...]) -> Any:
        return jax.lax.cond(pred, *branches, *held)

    return _choose("filter_cond", of_jax, [true_fun, false_fun], operands, operand)


@overload
def filter_switch(index: Scalar, branches: Sequence[Callable[[T], R]], *, operand: T) -> R: ...
@overload
def filter_switch(index: Scalar, branches: Sequence[Callable[[*Ts], R]], *operands: *Ts) -> R: ...
@public
def filter_switch(
    index: Scalar, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = ...
) -> Any:
    """`jax.lax.switch` with any PyTrees: the result of the function that `index` says.

    On trees of arrays it is `jax.lax.switch`.

    **Arguments:**

    - `index`: an integer scalar; it is clamped into the range of `branches`.
    - `branches`: any callables. All are traced.
    - `*operands`: their arguments, any PyTrees.
    - `operand`: the only argument, in place of `*operands`.

    **Returns:** the result of one of `branches`; they must agree as for `filter_cond`.

    **Raises:** `TypeError` if the results do not agree, with the path and both values.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_switch

    out, name = filter_switch(
        jnp.array(1), [lambda x, s: (x, s), lambda x, s: (2 * x, s)], jnp.array(3.0), "x"
    )
    assert out == 6.0 and name == "x"
    ```
    """

    def of_jax(branches: list[Any], held: tuple[Any, ...]) -> Any:
        return jax.lax.switch(index, branches, *held)

    return _choose("filter_switch", of_jax, list(branches), operands, operand)
