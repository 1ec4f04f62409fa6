"""`while_loop` and `scan` for libraries whose user chooses the kind."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from filtered_transforms._types import LoopKind, PyTree
from tree_surgery.extend import public

from .scan import scan as _scan
from .while_loop import while_loop as _while_loop

_F = TypeVar("_F", bound=Callable[..., Any])


def _typed_as(_: _F) -> Callable[[Callable[..., Any]], _F]:
    """To a type checker, the function is of the type of another, overloads and all."""
    return lambda function: cast(_F, function)


@public("filtered_transforms.extend")
@_typed_as(_while_loop)
def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: PyTree,
    *,
    max_steps: int | None = None,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | None = None,
    base: int = 16,
) -> PyTree:
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


@public("filtered_transforms.extend")
@_typed_as(_scan)
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: PyTree,
    xs: PyTree,
    length: int | None = None,
    *,
    buffers: Callable[[Any], Any] | None = None,
    kind: LoopKind,
    checkpoints: int | Literal["all"] | None = None,
) -> tuple[PyTree, PyTree]:
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
