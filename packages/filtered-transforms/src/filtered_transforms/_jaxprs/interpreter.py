"""`Interpreter`: evaluates jaxprs, with rules in the place of some of their equations."""

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
    """Evaluates jaxprs, with rules of yours in the place of some of their equations.

    All other equations are left to JAX: those that stand together are evaluated at once, with their
    lines, named scopes and contexts. An equation without a rule whose inner jaxprs have equations
    with one is evaluated with these jaxprs interpreted: so a rule holds within `jit`, `scan`,
    `cond` and all others.

    To choose rules by something else than the primitive, or to let inner jaxprs be run in another
    way, override `rule_for`. If it has a rule for every equation, values need not be arrays.

    **Arguments:**

    - `rules`: for each primitive, a function `rule(interpreter, equation, inputs)` that returns a
        list with a value for each of `equation.outputs`. `equation.bind(inputs)` is what JAX would
        return. `interpreter.run` interprets an inner jaxpr, and `inner_programs(equation)` says
        what each is for.

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

        By default that of its primitive; else, if an equation within it has a rule, one that
        interprets its inner jaxprs.
        """
        rule = self.rules.get(equation.primitive)
        if rule is None and any(map(self.has_rules_in, equation.jaxprs)):
            return _interpreting_inner_jaxprs
        return rule

    def has_rules_in(self, jaxpr: AnyJaxpr) -> bool:
        """Whether any equation of a jaxpr has a rule."""
        return any(self.rule_for(equation) is not None for equation in equations(jaxpr))

    def run(
        self, jaxpr: AnyJaxpr, args: Sequence[Any], consts: Sequence[Any] | None = None
    ) -> list[Any]:
        """The results of a jaxpr.

        **Arguments:**

        - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.
        - `args`: its arguments.
        - `consts`: the values of its constants; those that it holds, if left out.
        """
        parts = list(self._parts(jaxpr))
        if len(parts) == 1 and parts[0][1] is None:  # JAX frees what is not needed any more
            inner, held = opened(jaxpr)
            return evaluate(inner, held if consts is None else list(consts), list(args))
        given = [*(constants(jaxpr) if consts is None else consts), *args]
        values: dict[Any, Any] = dict(zip(variables_of(jaxpr), given, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if is_literal(atom) else values[atom]

        for part, rule in parts:
            if rule is None:
                values.update(evaluate_part(jaxpr, part, values))
            else:
                (equation,) = part
                found = rule(self, equation, [read(atom) for atom in equation.inputs])
                values.update(zip(equation.outputs, found, strict=True))
        return [read(atom) for atom in jaxpr_results(jaxpr)]

    def _parts(self, jaxpr: AnyJaxpr) -> Iterator[tuple[list[Equation], EquationRule | None]]:
        """The equations: those with a rule one by one, the others as far as they stand together."""
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
    def interpreted(jaxpr: AnyJaxpr) -> Any:
        has_rules = interpreter.has_rules_in(jaxpr)
        return retrace(jaxpr, interpreter.run) if has_rules else jaxpr

    return equation.bind(inputs, **with_jaxprs(equation, interpreted))
