"""The results of a jaxpr, with other things in the place of some of its equations."""

from collections.abc import Callable
from typing import Any, NamedTuple

from filtered_transforms._jax import evaluate, interpret, is_jaxpr, opened, sub_jaxprs, traced_anew

Evaluate = Callable[[Any, Any, Any], list[Any]]


class Rule(NamedTuple):
    # What takes the place of the equations to which it `applies`: `result(eqn, operands, evaluate)`
    # is what such an equation returns. `evaluate(jaxpr, consts, args)` goes by the same rules.

    applies: Callable[[Any], bool]
    result: Callable[[Any, list[Any], Evaluate], Any]


def evaluate_with(*rules: Rule) -> Evaluate:
    """`jax.core.eval_jaxpr`, with what the first rule that applies says in place of an equation.

    Equations within equations count; what no rule applies to stays as it is.
    """

    def found(eqn: Any) -> Rule | None:
        return next((rule for rule in rules if rule.applies(eqn)), None)

    def changes(jaxpr: Any) -> bool:
        return any(
            found(eqn) is not None or any(map(changes, sub_jaxprs(eqn.params)))
            for eqn in opened(jaxpr)[0].eqns
        )

    def each(eqn: Any, operands: list[Any], bind: Callable[[dict[str, Any]], Any]) -> Any:
        rule = found(eqn)
        if rule is not None:
            return rule.result(eqn, operands, evaluated)
        return bind({name: parameter(value) for name, value in eqn.params.items()})

    def parameter(value: Any) -> Any:
        if is_jaxpr(value):
            return traced_anew(value, run) if changes(value) else value
        if type(value) in (tuple, list) and any(map(is_jaxpr, value)):
            return type(value)(map(parameter, value))
        return value

    def run(jaxpr: Any, consts: Any, *args: Any) -> list[Any]:
        return interpret(jaxpr, consts, args, each)

    def evaluated(jaxpr: Any, consts: Any, args: Any) -> list[Any]:
        if not changes(jaxpr):
            return evaluate(jaxpr, list(consts), list(args))
        return run(jaxpr, consts, *args)

    return evaluated


def renewed(closed: Any, renews: Callable[[Any], bool]) -> Any:
    """A closed jaxpr where, from an equation on that `renews`, its last result stands for its first
    operand."""
    if not any(map(renews, opened(closed)[0].eqns)):
        return closed

    def as_it_is(eqn: Any, _: list[Any], bind: Callable[[dict[str, Any]], Any]) -> Any:
        return bind(eqn.params)

    def run(jaxpr: Any, consts: Any, *args: Any) -> list[Any]:
        return interpret(jaxpr, consts, args, as_it_is, renews)

    return traced_anew(closed, run)


def _inlined(eqn: Any, operands: list[Any], evaluate: Evaluate) -> Any:
    jaxpr, consts = opened(eqn.params["call_jaxpr"])
    return evaluate(jaxpr, consts, operands)


WITHOUT_VJP = Rule(lambda eqn: eqn.primitive.name == "custom_vjp_call", _inlined)
"""Functions with a rule for reverse mode of their own are what they compute, so that they can be
differentiated in forward mode: for what is not differentiated in reverse any more."""

WITHOUT_JVP = Rule(lambda eqn: eqn.primitive.name == "custom_jvp_call", _inlined)
"""The same for functions with a rule for forward mode."""
