"""`Carrier`: evaluates a program without its checks, and returns their observed values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from filtered_transforms.extend import (
    Equation,
    InnerPrograms,
    InnerShardMap,
    Interpreter,
    all_jaxprs,
    equations,
    inner_programs,
)
from runtime_checks._check.primitive import Check, check_p
from runtime_checks._jax import varying

Seen = list[Any]
"""The observed values of one check: its predicate, then its other values."""

FunctionaliseRule = Callable[["Carrier", Equation, Any, list[Any]], tuple[list[Any], list[Seen]]]
"""`rule(carrier, equation, inner, inputs)` returns the results of an equation that contains checks,
and the values that these observed. `inner` is `inner_programs(equation)`."""


class Carrier:
    """Turns the checks of one program into outputs.

    An equation that contains checks is evaluated by the rule for its kind of inner program. If
    there is no rule, its checks stay in the program, and use callbacks.

    Invariant: `checks` lists, before evaluation, the checks that `run` finds, in the same order and
    with the same shapes. A loop needs them for its initial carry, and a branch for the checks of
    the other branches. If the order differed, a failure would be reported for another check.

    **Attributes:**

    - `rules`: the rules, by the class of what `inner_programs` returns.
    - `rewritten`: by the `id` of the jaxpr of a jitted function, the jaxpr without checks. So a
        function that is called several times is rewritten once, and compiled once.
    """

    def __init__(self, rules: Mapping[type[InnerPrograms], FunctionaliseRule]):
        self.rules = rules
        self.rewritten: dict[int, Any] = {}
        # Each entry holds the jaxpr itself: the `id` of a freed object may be reused.
        self._checks: dict[int, tuple[Any, list[tuple[Check, Seen]]]] = {}

    def checks(self, jaxpr: Any) -> list[tuple[Check, Seen]]:
        """The checks of a jaxpr that become outputs, in order, with the shapes of their values."""
        found = self._checks.get(id(jaxpr))
        if found is None:
            checks = [one for equation in equations(jaxpr) for one in self.checks_of(equation)]
            found = self._checks[id(jaxpr)] = jaxpr, checks
        return found[1]

    def checks_of(self, equation: Equation) -> list[tuple[Check, Seen]]:
        """The same for one equation."""
        if equation.primitive is check_p:
            check = equation.params["check"]
            return [(check, [_shape(x) for x in equation.input_types[: 1 + len(check.names)]])]
        inner = inner_programs(equation)
        if inner is None or type(inner) not in self.rules:
            return []
        found = [one for jaxpr in inner.jaxprs for one in self.checks(jaxpr)]
        if isinstance(inner, InnerShardMap):
            shards = inner.num_shards
            return [(c, [_stacked(x, shards) for x in seen]) for c, seen in found]
        return found

    def leaves(self, jaxpr: Any) -> bool:
        """Whether there are checks that do not become outputs."""
        for equation in equations(jaxpr):
            if equation.primitive is not check_p:
                leaves = self.leaves if self.checks_of(equation) else has_check
                if any(map(leaves, equation.jaxprs)):
                    return True
        return False

    def run(self, jaxpr: Any, args: Sequence[Any]) -> tuple[list[Any], list[Seen]]:
        """The results of a jaxpr, and the observed values of its checks."""
        run = _Run(self)
        results = run.run(jaxpr, args)
        return results, run.seen

    def equation(self, equation: Equation, inputs: list[Any]) -> tuple[list[Any], list[Seen]]:
        """The results of an equation that contains checks, and their observed values."""
        if equation.primitive is check_p:
            before = 1 + len(equation.params["check"].names)
            return inputs[before:], [[varying(x) for x in inputs[:before]]]
        inner = inner_programs(equation)
        with equation.in_scope():
            return self.rules[type(inner)](self, equation, inner, inputs)  # pyright: ignore[reportArgumentType]  (it has checks, so it has a rule)


class _Run(Interpreter):
    """The evaluation of one jaxpr; collects the observed values of its checks."""

    def __init__(self, carrier: Carrier):
        super().__init__({})
        self.carrier = carrier
        self.seen: list[Seen] = []

    def rule_for(self, equation: Equation) -> Any:
        return _gathered if self.carrier.checks_of(equation) else None


def _gathered(run: _Run, equation: Equation, inputs: list[Any]) -> list[Any]:
    results, seen = run.carrier.equation(equation, inputs)
    run.seen.extend(seen)
    return results


def has_check(jaxpr: Any, which: Callable[[Check], bool] = lambda check: True) -> bool:
    """Whether a jaxpr contains a check for which `which` is true."""
    return any(
        equation.primitive is check_p and which(equation.params["check"])
        for inner in all_jaxprs(jaxpr)
        for equation in equations(inner)
    )


def _shape(type_: Any) -> Any:
    return jax.ShapeDtypeStruct(type_.shape, type_.dtype)


def _stacked(x: Any, size: int) -> Any:
    return jax.ShapeDtypeStruct((size, *x.shape), x.dtype)
