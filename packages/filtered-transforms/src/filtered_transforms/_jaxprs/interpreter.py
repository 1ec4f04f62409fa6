"""`Interpreter`: evaluates jaxprs, with rules for some of their equations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from filtered_transforms._jax.equations import Equation, equations, is_literal
from filtered_transforms._jax.evaluate import evaluate, evaluate_part, retrace
from filtered_transforms._jax.jaxpr_classes import AnyJaxpr
from filtered_transforms._jax.jaxprs import constants, jaxpr_results, opened, variables_of
from filtered_transforms._jax.rewrite import with_jaxprs
from tree_surgery.extend import public

EquationRule = Callable[[Any, Equation, list[Any]], Sequence[Any]]
"""`rule(interpreter, equation, inputs)` returns the values of `equation.outputs`."""


@public("filtered_transforms.extend")
class Interpreter:
    """Evaluates jaxprs, with your rules for some of their equations.

    JAX evaluates all other equations. Consecutive ones are evaluated together, and keep their
    source lines, named scopes and contexts. If an equation has no rule but its inner jaxprs contain
    equations with rules, these jaxprs are interpreted: so a rule also applies inside `jit`, `scan`,
    `cond` and all other primitives with inner jaxprs.

    Override `rule_for` to choose rules by more than the primitive, or to evaluate inner jaxprs
    differently. If every equation has a rule, values need not be arrays.

    **Arguments:**

    - `rules`: for each primitive, a function `rule(interpreter, equation, inputs)` that returns a
        list with a value for each of `equation.outputs`. `equation.bind(inputs)` returns JAX's own
        results. `interpreter.run` interprets an inner jaxpr, and `inner_programs(equation)` says
        how the equation runs its inner jaxprs.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import Interpreter, equations, retrace

    def halved(interpreter, equation, inputs):
        return [out / 2 for out in equation.bind(inputs)]

    interpreter = Interpreter({jax.lax.sin_p: halved})
    jaxpr = jax.make_jaxpr(jax.jit(lambda x: jnp.sin(x) + 1))(jnp.ones(2))
    (out,) = interpreter.run(jaxpr, [jnp.ones(2)])
    assert jnp.allclose(out, jnp.sin(1.0) / 2 + 1)

    new = retrace(jaxpr, interpreter.run)
    (jitted,) = equations(new)
    assert [e.name for e in equations(jitted.jaxprs[0])] == ["sin", "div", "add"]
    ```
    """

    def __init__(self, rules: Mapping[Any, EquationRule]):
        self.rules = rules

    def rule_for(self, equation: Equation) -> EquationRule | None:
        """The rule for an equation; `None` leaves it to JAX.

        By default the rule of its primitive. If there is none, but an inner equation has a rule,
        a rule that interprets the inner jaxprs.
        """
        rule = self.rules.get(equation.primitive)
        if rule is None and any(map(self.has_rules_in, equation.jaxprs)):
            return _interpreting_inner_jaxprs
        return rule

    def has_rules_in(self, jaxpr: AnyJaxpr) -> bool:
        """Whether any equation of a jaxpr has a rule, at any depth."""
        return any(self.rule_for(equation) is not None for equation in equations(jaxpr))

    def run(
        self, jaxpr: AnyJaxpr, args: Sequence[Any], consts: Sequence[Any] | None = None
    ) -> list[Any]:
        """The results of a jaxpr.

        **Arguments:**

        - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.
        - `args`: its arguments.
        - `consts`: the values of its constants; by default those that the jaxpr holds.
        """
        parts = list(self._parts(jaxpr))
        # Without rules, JAX evaluates the whole jaxpr, and frees each value after its last use.
        # `values` below holds all values until the end.
        if len(parts) == 1 and parts[0][1] is None:
            inner, held = opened(jaxpr)
            return evaluate(inner, held if consts is None else list(consts), list(args))
        given = [*(constants(jaxpr) if consts is None else consts), *args]
        values: dict[Any, Any] = dict(zip(variables_of(jaxpr), given, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if is_literal(atom) else values[atom]

        # Invariant: parts run in the order of the equations. So the inputs of a part are in
        # `values`, and effects keep their order.
        for part, rule in parts:
            if rule is None:
                values.update(evaluate_part(jaxpr, part, values))
            else:
                (equation,) = part
                # `strict`: a rule returns a value for every output, also for dropped ones.
                found = rule(self, equation, [read(atom) for atom in equation.inputs])
                values.update(zip(equation.outputs, found, strict=True))
        return [read(atom) for atom in jaxpr_results(jaxpr)]

    def _parts(self, jaxpr: AnyJaxpr) -> Iterator[tuple[list[Equation], EquationRule | None]]:
        """The equations in order: each one with a rule by itself, consecutive others together."""
        together: list[Equation] = []
        for equation in equations(jaxpr):
            rule = self.rule_for(equation)
            if rule is None:
                together.append(equation)
                continue
            if together:
                yield together, None
                together = []
            yield [equation], rule
        if together:
            yield together, None


def _interpreting_inner_jaxprs(
    interpreter: Interpreter, equation: Equation, inputs: list[Any]
) -> list[Any]:
    # The equation keeps its primitive and all other parameters, such as the sizes of the carry. So
    # the new inner jaxprs must have the same inputs and outputs. A rule must not close over tracers
    # of this trace: they would become new constants, which `retrace` refuses for a `Jaxpr`.
    def interpreted(jaxpr: AnyJaxpr) -> Any:
        has_rules = interpreter.has_rules_in(jaxpr)
        return retrace(jaxpr, interpreter.run) if has_rules else jaxpr

    return equation.bind(inputs, **with_jaxprs(equation, interpreted))
