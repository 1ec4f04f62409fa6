"""Interpreters of jaxprs whose rules are chosen by more than the primitive of an equation."""

from collections.abc import Callable
from typing import Any, NamedTuple

from filtered_transforms._jax.equations import Equation
from filtered_transforms._jax.inner_programs import InnerCall, inner_programs
from filtered_transforms._jaxprs.interpreter import EquationRule, Interpreter


class Replacement(NamedTuple):
    """A rule for all equations for which `applies` is true."""

    applies: Callable[[Equation], bool]
    rule: EquationRule


class Replacing(Interpreter):
    """Evaluates each equation by the first replacement that applies to it."""

    def __init__(self, *replacements: Replacement):
        super().__init__({})
        self.replacements = replacements

    def rule_for(self, equation: Equation) -> EquationRule | None:
        for applies, rule in self.replacements:
            if applies(equation):
                return rule
        return super().rule_for(equation)


def _calls(kind: str) -> Callable[[Equation], bool]:
    def applies(equation: Equation) -> bool:
        inner = inner_programs(equation)
        return isinstance(inner, InnerCall) and inner.kind == kind

    return applies


def _inlined(interpreter: Interpreter, equation: Equation, inputs: list[Any]) -> list[Any]:
    inner = inner_programs(equation)
    assert inner is not None
    (jaxpr,) = inner.jaxprs
    return interpreter.run(jaxpr, inputs)


WITHOUT_VJP = Replacement(_calls("custom_vjp"), _inlined)
"""Inline `custom_vjp` calls, so that forward mode works. Only for programs that are not
differentiated in reverse again."""

WITHOUT_JVP = Replacement(_calls("custom_jvp"), _inlined)
"""Inline `custom_jvp` calls. Only for programs that are not differentiated again."""
