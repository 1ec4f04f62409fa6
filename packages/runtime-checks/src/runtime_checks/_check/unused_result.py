"""A check whose result is not used is most often a mistake: the user is told the line."""

import warnings
from typing import Any

from filtered_transforms.extend import (
    Equation,
    all_jaxprs,
    equations,
    is_literal,
    jaxpr_results,
)

from .primitive import Check, check_p


def warn_of_unused(jaxpr: Any) -> None:
    """Warns of each check in a program whose results are not used where it stands."""
    unused = [check for inner in all_jaxprs(jaxpr) for check in _unused(inner)]
    for check in dict.fromkeys(unused):
        place = check.places[0]
        warnings.warn_explicit(
            f"The result of this check is not used: {check.messages[0]!r}. Write "
            f"`x = error_if(x, ...)` and go on with that `x`, so that nothing uses it before the "
            f"check has passed; or `check(pred, msg)`, which returns nothing.",
            UserWarning,
            filename=place.file,
            lineno=place.line,
        )


def _unused(jaxpr: Any) -> list[Check]:
    """The checks in a jaxpr, not within its equations, whose results are not used there.

    Of those that a user wrote there. A derivative need not use what the function itself does, such
    as the rules of a `custom_vjp`.
    """
    of_jaxpr = equations(jaxpr)
    read = [*jaxpr_results(jaxpr), *(atom for eqn in of_jaxpr for atom in eqn.inputs)]
    used = {atom for atom in read if not is_literal(atom)}
    return [
        equation.params["check"]
        for equation in of_jaxpr
        if equation.primitive is check_p
        and _is_by_hand(equation)
        and used.isdisjoint(equation.outputs)
    ]


def _is_by_hand(equation: Equation) -> bool:
    check = equation.params["check"]
    return check.by_hand and bool(check.places) and not equation.is_of_derivative
