"""A check whose result is not used is most often a mistake: the user is told the line."""

import warnings
from typing import Any

from runtime_checks import _jax

from .primitive import Check, check_p


def warn_of_unused(jaxpr: Any) -> None:
    """Warns of each check in a program whose results are not used where it stands."""
    for check in dict.fromkeys(_unused(jaxpr, set())):
        place = check.places[0]
        warnings.warn_explicit(
            f"The result of this check is not used: {check.messages[0]!r}. Write "
            f"`x = error_if(x, ...)` and go on with that `x`, so that nothing uses it before the "
            f"check has passed; or `check(pred, msg)`, which returns nothing.",
            UserWarning,
            filename=place.file,
            lineno=place.line,
        )


# A derivative need not use what the function itself does, such as the rules of a `custom_vjp`.
def _unused(jaxpr: Any, seen: set[int]) -> list[Check]:
    if id(jaxpr) in seen:
        return []
    seen.add(id(jaxpr))
    opened, _ = _jax.opened(jaxpr)
    used = {atom for atom in opened.outvars if not _jax.is_literal(atom)}
    for eqn in opened.eqns:
        used.update(atom for atom in eqn.invars if not _jax.is_literal(atom))
    found: list[Check] = []
    for eqn in opened.eqns:
        if eqn.primitive is check_p:
            check = eqn.params["check"]
            by_hand = check.by_hand and "jvp(" not in _jax.scope_of(eqn)
            if by_hand and check.places and used.isdisjoint(eqn.outvars):
                found.append(check)
        for inner in _jax.sub_jaxprs(eqn.params):
            found.extend(_unused(inner, seen))
    return found
