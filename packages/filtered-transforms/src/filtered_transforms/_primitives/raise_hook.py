"""How the toolkit raises an error that depends on values: as `runtime_checks` does, if it is there.

This distribution has no run-time checks of its own. `runtime_checks` says by `extend.set_raise_if`
how it makes one; without it the program itself fails, with JAX's own exception around the message.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tree_surgery.extend import public

RaiseIf = Callable[[Any, Any, str], Any]


def _by_callback(x: Any, pred: Any, msg: str) -> Any:
    def check(failed: Any) -> Any:
        if np.any(failed):
            raise RuntimeError(msg)
        return np.zeros((), bool)

    seen = jax.pure_callback(check, jax.ShapeDtypeStruct((), bool), pred, vmap_method="sequential")
    return jax.tree.map(lambda leaf: jax.lax.select(seen, leaf * 0, leaf), x)


_ways: list[RaiseIf] = [_by_callback]


def raise_if(x: Any, pred: Any, msg: str) -> Any:
    """`x`, or an error with this message if `pred` is true when the program runs."""
    return _ways[-1](x, pred, msg)


@public("filtered_transforms.extend")
def set_raise_if(way: RaiseIf) -> None:
    """Says how the toolkit makes a run-time check. `runtime_checks` does so when it is imported.

    **Arguments:**

    - `way`: `way(x, pred, msg)` returns `x`, an array; the program fails with `msg` if `pred`, a
        boolean scalar, is true. It need not be differentiable.
    """
    _ways[:] = [way]
