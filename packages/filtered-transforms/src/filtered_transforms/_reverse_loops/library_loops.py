"""`while_loop` and `scan` for libraries, with the signatures and rules of Equinox's loops."""

from collections.abc import Callable
from typing import Any, Literal, overload

from filtered_transforms._filters.static_nodes import check_callable
from filtered_transforms._types import LoopKind, PyTree, R, Scalar, T, X
from tree_surgery.extend import public

from .loop_options import Caller, choose
from .scan import Order, run_scan, scan_length
from .while_loop import run_while

_WHILE = Caller("while_loop", "body_fun", ValueError)
_SCAN = Caller("scan", "f", ValueError)


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
    base: int = 16,
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
    base: int = 16,
) -> T: ...
@public("filtered_transforms.extend")
def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    max_steps: int | None = None,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | None = None,
    base: int = 16,
) -> Any:
    """As `filter_while_loop`, for libraries: numbers become arrays, unused options are ignored.

    It has the signature and the rules of Equinox's `while_loop`: Python numbers in the first state
    become arrays, and options that `kind` does not use are ignored. So a library can pass all
    options and leave the kind to its user.

    **Arguments:**

    - `cond_fun`, `body_fun`, `init_val`, `max_steps`, `buffers`, `kind`, `checkpoints`: as for
        `filter_while_loop`.
    - `base`: the least number of steps in a block of a bounded loop.

    **Returns:** the last state.

    **Raises:** as `filter_while_loop`, but `ValueError` if `body_fun` changes the structure or the
    type of the state.

    ```python
    from filtered_transforms.extend import while_loop

    for kind in ("lax", "bounded", "checkpointed"):
        out = while_loop(
            lambda x: x < 9, lambda x: 2 * x, 1, max_steps=5, kind=kind, checkpoints=5, base=5
        )
        assert out == 16
    ```
    """
    check_callable("while_loop", cond_fun)
    check_callable("while_loop", body_fun)
    options = choose(
        _WHILE,
        kind,
        max_steps=max_steps,
        checkpoints=checkpoints if kind == "checkpointed" else None,
        base=base,
        buffers=buffers,
    )
    return run_while(cond_fun, body_fun, init_val, options)


@overload
def scan(
    f: Callable[[T, X], tuple[T, R]],
    init: T,
    xs: X,
    length: int | None = None,
    *,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@overload  # numbers in the first carry become arrays
def scan(
    f: Callable[[T, X], tuple[T, R]],
    init: PyTree,
    xs: X,
    length: int | None = None,
    *,
    buffers: Callable[[T], PyTree] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[T, R]: ...
@public("filtered_transforms.extend")
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    *,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[Any, Any]:
    """As `filter_scan`, for libraries: numbers become arrays, unused options are ignored.

    It has the signature and the rules of Equinox's `scan`: Python numbers in the first carry and in
    the outputs of `f` become arrays, and `checkpoints` is ignored if `kind` does not use it.

    **Arguments:** as for `filter_scan`.

    **Returns:** `(carry, ys)`: the last carry, and the `y`s, stacked.

    **Raises:** as `filter_scan`, but `ValueError` if `f` changes the structure or the type of the
    carry.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import scan

    for kind in ("lax", "bounded", "checkpointed"):
        total, _ = scan(lambda c, x: (c + x, x), 0.0, jnp.ones(3), kind=kind, checkpoints="all")
        assert total == 3
    ```
    """
    check_callable("scan", f)
    steps = scan_length(xs, length, "scan")
    kept = checkpoints if kind == "checkpointed" else None
    options = choose(_SCAN, kind, length=steps, checkpoints=kept, buffers=buffers)
    return run_scan(f, init, xs, steps, options, Order())
