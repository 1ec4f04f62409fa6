"""`show`: calls Python from a program, but not when a derivative reruns the program."""

from collections.abc import Callable
from typing import Any

import jax

from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._tracing.finalise import register_impl_finalisation
from filtered_transforms._tracing.jaxpr_rules import Replacement


def _run(state: Any, pred: Any, *args: Any, function: Callable[..., None]) -> Any:
    def call(*args: Any) -> None:
        jax.debug.callback(function, *args)

    def nothing(*_: Any) -> None:
        pass

    jax.lax.cond(pred, call, nothing, *args)
    return state


def _shapes(state: Any, *_: Any, **__: Any) -> Any:
    return state


_show_p = new_primitive("show", multiple_results=False)
set_rules(_show_p, _run, _shapes, is_kept=True)
register_impl_finalisation(_show_p)


def show(state: Any, pred: Any, function: Callable[..., None], *args: Any) -> Any:
    """`state`, after `function(*args)` on the host if `pred`. No operand may be batched."""
    return _show_p.bind(state, pred, *args, function=function)


WITHOUT_SHOW = Replacement(lambda eqn: eqn.primitive is _show_p, lambda _, __, inputs: inputs[:1])
"""For reruns: `show` becomes the identity, so that nothing is shown twice."""
