"""How a jaxpr is made of another one without running it: other variables, fewer equations.

Decided here: what is dead code (`jax.interpreters.partial_eval`), how the jaxprs among parameters
are replaced, and which variable is read where. Seen to work with JAX 0.7.2 to 0.12.
"""

from collections.abc import Callable
from typing import Any

from jax.interpreters import partial_eval

from tree_surgery.extend import public

from .equations import Equation, is_dropped, is_literal, jaxprs_among
from .jaxpr_classes import JaxprT, core, is_jaxpr, own
from .jaxprs import opened


def with_jaxprs(equation: Equation, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Those of the parameters of an equation that hold jaxprs, each of them changed."""
    params = equation.params

    def changed(value: Any) -> Any:
        if is_jaxpr(value):
            return change(value)
        if not isinstance(value, (tuple, list)) or not any(True for _ in jaxprs_among([value])):
            return value
        make: Any = getattr(value, "_make", type(value))  # `custom_linear_solve` has a named tuple
        return make(map(changed, value))

    new = {name: changed(value) for name, value in params.items()}
    return {name: value for name, value in new.items() if value is not params[name]}


def handed_on(closed: Any, primitive: Any) -> Any:
    """The jaxpr in which each equation of a primitive returns its first operand for what follows.

    Where that variable is read after the equation, its last result is read.
    """
    inner = own(closed)
    latest: dict[Any, Any] = {}
    eqns: list[Any] = []
    for eqn in inner.eqns:
        eqn = _reading(eqn, latest)
        if eqn.primitive is primitive:
            *others, last = eqn.outvars
            if is_dropped(last):
                last = core().Var(last.aval)
                eqn = eqn.replace(outvars=[*others, last])
            # All names under which the array was known until here.
            older = [name for name, now in latest.items() if now is eqn.invars[0]]
            latest.update(dict.fromkeys((eqn.invars[0], *older), last))
        eqns.append(eqn)
    if not latest:
        return closed
    outvars = [v if is_literal(v) else latest.get(v, v) for v in inner.outvars]
    new = inner.replace(eqns=eqns, outvars=outvars)
    return new if closed is inner else closed.replace(jaxpr=new)


def _reading(eqn: Any, latest: dict[Any, Any]) -> Any:
    """The equation, which reads other variables in the place of some."""
    if not any(not is_literal(v) and v in latest for v in eqn.invars):
        return eqn
    return eqn.replace(invars=[v if is_literal(v) else latest.get(v, v) for v in eqn.invars])


def used_arguments(jaxpr: Any) -> list[bool]:
    """Which arguments of a closed jaxpr its results or effects need; JAX drops the others.

    `jax.interpreters.partial_eval.dce_jaxpr`, all JAX versions.
    """
    inner, _ = opened(jaxpr)
    used = list(partial_eval.dce_jaxpr(inner, [True] * len(inner.outvars))[1])
    return used[len(used) - len(own(jaxpr).invars) :]


@public("filtered_transforms.extend")
def without_dead_code(jaxpr: JaxprT) -> JaxprT:
    """A closed jaxpr without the equations that nobody needs. `dce_jaxpr`, all JAX versions.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`.

    **Returns:** another, of the same arguments and results.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import equations, without_dead_code

    jaxpr = jax.make_jaxpr(lambda x: [jnp.sin(x), 2 * x][1])(1.0)
    assert [equation.name for equation in equations(jaxpr)] == ["sin", "mul"]
    assert [equation.name for equation in equations(without_dead_code(jaxpr))] == ["mul"]
    ```
    """
    inner, consts = opened(jaxpr)
    needed = [True] * len(inner.outvars)
    smaller, _ = partial_eval.dce_jaxpr(inner, needed, instantiate=True)
    return core().ClosedJaxpr(smaller, consts)
