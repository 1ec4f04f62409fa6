"""`while_loop` and `scan` for libraries whose user chooses the kind."""

from collections.abc import Callable
from typing import Any, Literal, overload

from ._scan import scan as _scan
from ._types import LoopKind, PyTree, R, Scalar, T, X
from ._while import while_loop as _while_loop


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
    """`filtered_transforms.while_loop`, which passes over what its kind has no use for.

    A library can so write down `checkpoints` and `base` for the kinds that have them, and leave the
    kind to its user.

    **Arguments**, **Returns** and **Raises:** as `filtered_transforms.while_loop`, but that
    `checkpoints` and `base` are no errors with a kind that has no use for them.

    ```python
    from filtered_transforms.extend import while_loop

    for kind in ("lax", "bounded", "checkpointed"):
        out = while_loop(
            lambda x: x < 9, lambda x: 2 * x, 1, max_steps=5, kind=kind, checkpoints=5, base=5
        )
        assert out == 16
    ```
    """
    return _while_loop(
        cond_fun,
        body_fun,
        init_val,
        max_steps=max_steps,
        buffers=buffers,
        kind=kind,
        checkpoints=checkpoints if kind == "checkpointed" else None,
        base=base if kind == "bounded" else None,
    )


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
    """`filtered_transforms.scan`, which passes over what its kind has no use for.

    **Arguments**, **Returns** and **Raises:** as `filtered_transforms.scan`, but that `checkpoints`
    is no error with a kind that has no use for it.

    ```python
    import jax.numpy as jnp
    from filtered_transforms.extend import scan

    for kind in ("lax", "bounded", "checkpointed"):
        total, _ = scan(lambda c, x: (c + x, x), 0.0, jnp.ones(3), kind=kind, checkpoints="all")
        assert total == 3
    ```
    """
    kept = checkpoints if kind == "checkpointed" else None
    return _scan(f, init, xs, length, buffers=buffers, kind=kind, checkpoints=kept)
