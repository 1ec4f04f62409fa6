"""`show`: calls Python from a program, but not again where a derivative runs the program again."""

from collections.abc import Callable
from typing import Any

import jax

from ._finalise import register_impl_finalisation
from ._jax import evaluate, interpret, is_jaxpr, new_primitive, opened, set_rules, traced_anew
from ._jax import sub_jaxprs as inner_jaxprs


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
    """`state`, after `function(*args)` on the host if `pred`. No `vmap` may map any of them."""
    return _show_p.bind(state, pred, *args, function=function)


def _shows(jaxpr: Any) -> bool:
    jaxpr, _ = opened(jaxpr)
    return any(
        eqn.primitive is _show_p or any(map(_shows, inner_jaxprs(eqn.params))) for eqn in jaxpr.eqns
    )


def evaluate_quietly(jaxpr: Any, consts: list[Any], args: list[Any]) -> list[Any]:
    """The results of a jaxpr, without showing anything."""
    if not _shows(jaxpr):
        return evaluate(jaxpr, consts, args)
    return interpret(jaxpr, consts, args, _quiet)


def _quiet(eqn: Any, operands: list[Any], bind: Callable[[dict[str, Any]], Any]) -> Any:
    if eqn.primitive is _show_p:
        return operands[0]
    return bind({name: _parameter(value) for name, value in eqn.params.items()})


def _parameter(value: Any) -> Any:
    if is_jaxpr(value) and _shows(value):
        return traced_anew(
            value, lambda jaxpr, consts, *args: evaluate_quietly(jaxpr, consts, list(args))
        )
    if type(value) in (tuple, list):
        return type(value)(map(_parameter, value))
    return value
