"""How a jaxpr is run, whole or in part, and traced again.

Decided here: lines and scopes of what is run are kept. Seen to work with JAX 0.7.2 to 0.12.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.core

from tree_surgery.extend import public

from .equations import Equation, is_dropped, is_literal
from .jaxpr_classes import AnyJaxpr, JaxprT, core, is_closed, own
from .jaxprs import jaxpr_input_types, opened


def evaluate(jaxpr: Any, consts: list[Any], args: list[Any]) -> list[Any]:
    """The results of a jaxpr, its source lines and scopes kept.

    `jax.extend.core.jaxpr_as_fun`, all JAX versions.
    """
    return core().jaxpr_as_fun(core().ClosedJaxpr(jaxpr, consts))(*args)


@public("filtered_transforms.extend")
def jaxpr_as_function(jaxpr: AnyJaxpr) -> Callable[..., list[Any]]:
    """A jaxpr as a function of its arguments that returns a list of arrays.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr` without constants.

    ```python
    import jax
    from filtered_transforms.extend import jaxpr_as_function

    double = jaxpr_as_function(jax.make_jaxpr(lambda x: 2 * x)(1.0))
    assert double(3.0) == [6.0]
    ```
    """
    inner, consts = opened(jaxpr)
    return lambda *args: evaluate(inner, consts, list(args))


def evaluate_part(
    jaxpr: Any, part: Sequence[Equation], values: dict[Any, Any]
) -> Iterable[tuple[Any, Any]]:
    """Evaluates some equations of a jaxpr that stand together, their lines and scopes kept.

    Returns the variables that they make, with their values. `values` has those that they need.
    """
    made: dict[Any, None] = {}
    needed: dict[Any, None] = {}
    eqns = [equation._eqn for equation in part]  # pyright: ignore[reportPrivateUsage]  (in this folder only)
    for eqn in eqns:
        for atom in eqn.invars:
            if not is_literal(atom) and atom not in made:
                needed[atom] = None
        for variable in eqn.outvars:
            if not is_dropped(variable):
                made[variable] = None
    inner = own(jaxpr)
    excerpt = inner.replace(
        constvars=[],
        invars=list(needed),
        outvars=list(made),
        eqns=eqns,
        debug_info=inner.debug_info._replace(arg_names=None, result_paths=None),
    )
    found = jax.core.eval_jaxpr(excerpt, (), *[values[variable] for variable in needed])
    return zip(made, found, strict=True)


@public("filtered_transforms.extend")
def retrace(jaxpr: JaxprT, run: Callable[..., list[Any]]) -> JaxprT:
    """A jaxpr of what `run(jaxpr, args, consts)` does, for the arguments of a jaxpr.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.
    - `run`: such as `Interpreter.run`.

    **Returns:** a jaxpr, closed as the one that was given.

    The example is that of `Interpreter`.
    """
    inner, consts = opened(jaxpr)
    args = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
        for aval in jaxpr_input_types(jaxpr)
    ]
    made: Any = jax.make_jaxpr(lambda *args: run(inner, args, consts))(*args)
    if is_closed(jaxpr):
        return made
    assert not made.consts, "a jaxpr without constants cannot get any"
    return made.jaxpr
