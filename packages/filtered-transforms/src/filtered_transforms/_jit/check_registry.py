"""Registry of run-time-check primitives; `filter_jit` blocks on programs that contain one."""

from collections.abc import Callable
from typing import Any, NamedTuple

from filtered_transforms._jax.equations import all_jaxprs, equations
from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.tracers import is_concrete
from tree_surgery.extend import public

Translate = Callable[[Exception], BaseException | None]


@public("filtered_transforms.extend")
class Carried(NamedTuple):
    """A program whose checks have become outputs.

    - `results`: the outputs of the program.
    - `report`: additional arrays that it returns, for the caller to read.
    - `read`: called with the concrete `report` after each call; raises if a check has failed. It
        must not wait for more than the first array unless a check has failed.
    - `left`: whether checks remain in the program that could not become outputs.
    """

    results: list[Any]
    report: list[Any]
    read: Callable[[list[Any]], None]
    left: bool


Carry = Callable[[Any, list[Any]], Carried]


class _Check(NamedTuple):
    """The registration of a primitive by `register_check`."""

    translate: Translate
    carry: Carry | None


class _CheckRegistry(dict[Any, _Check]):
    """The primitives that are run-time checks.

    Written by `register_check`, which libraries call at import: it has an entry for each primitive
    that they define. Read when a program is compiled, and when one has failed. A primitive that is
    registered later has no effect on programs that are compiled already.
    """

    def translated(self, error: Exception) -> BaseException | None:
        """The exception to raise instead of `error`, if `error` comes from a check."""
        for check in list(self.values()):
            found = check.translate(error)
            if found is not None:
                return found
        return None


_CHECKS = _CheckRegistry()


@public("filtered_transforms.extend")
def register_check(primitive: Primitive, translate: Translate, carry: Carry | None = None) -> None:
    """Makes `filter_jit` block on programs that contain `primitive`, and report its failure.

    A program without such a primitive is never waited for. Whether a program has one is read from
    the program itself, once per compilation, inner jitted functions and loops included.

    **Arguments:**

    - `primitive`: a `jax.extend.core.Primitive` that makes the program fail while it runs.
    - `translate`: called with the exception that the failed program raised. Returns the exception
        to raise instead, or `None` if the exception does not come from this check.
    - `carry`: called with a closed jaxpr that contains the primitive and with its (traced)
        arguments, when `filter_jit` compiles such a program. It evaluates the jaxpr without the
        primitive, so that nothing in the program has to fail, and returns a `Carried`: the
        results, a report, and a function that reads the report after each call. Without `carry`,
        and for checks that `carry` leaves in the program, the program itself fails, and `translate`
        is called.

    Registering a primitive again replaces both functions.
    """
    _CHECKS[primitive] = _Check(translate, carry)


def any_checks() -> bool:
    """Whether a check was ever registered."""
    return len(_CHECKS) > 0


def find_check(jaxpr: Any) -> Any:
    """A registered primitive that is somewhere in `jaxpr`, or `None`."""
    for inner in all_jaxprs(jaxpr):
        for equation in equations(inner):
            if equation.primitive in _CHECKS:
                return equation.primitive
    return None


def has_checks(jaxpr: Any) -> bool:
    """Whether a registered primitive is anywhere in `jaxpr`."""
    return find_check(jaxpr) is not None


def carry_of(jaxpr: Any) -> Carry | None:
    """The `carry` function for the checks of `jaxpr`, or `None`."""
    primitive = find_check(jaxpr)
    return None if primitive is None else _CHECKS[primitive].carry


def translated(error: Exception) -> BaseException | None:
    """The exception to raise instead of `error`, with which a program failed; else `None`."""
    return _CHECKS.translated(error)


def wait(arrays: list[Any]) -> None:
    """Waits for the arrays that are not traced."""
    for array in arrays:
        if is_concrete(array):
            array.block_until_ready()
