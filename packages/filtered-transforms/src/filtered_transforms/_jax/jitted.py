"""What JAX knows of a jitted function: its state, its program, and its equation in a jaxpr.

Decided here: how the equation of a jitted function is bound with another jaxpr, and what tells JAX
that a sharding is its own choice. Seen to work with JAX 0.7.2 to 0.12.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax

from tree_surgery.extend import public

from .equations import Equation, equations
from .jaxpr_classes import AnyJaxpr
from .jaxprs import jaxpr_output_types


def program_of(traced: Any) -> Any:
    """The closed jaxpr of what `jax.jit(...).trace` returns, with all that it calls in sight.

    JAX 0.12 has primitives that hide their functions (`custom_root`), and `Traced.lojax` is the
    program without them. Before, where it is missing there is nothing to be expanded.
    """
    return getattr(traced, "lojax", traced).jaxpr


def jitted_as(fun: Any) -> Any:
    """What a function of `jax.jit` and its copies share: how it was jitted, and which function.

    The state that `copy` is given; JAX 0.7.2 up to 0.12. The function itself where there is none.
    """
    state = fun.__getstate__()
    return state.get("cache_miss", fun) if isinstance(state, dict) else fun


@functools.cache
def unspecified_sharding() -> Any:
    """What `jax.jit` takes for a sharding that is not for the caller to say; all JAX versions."""
    (eqn,) = equations(jax.make_jaxpr(jax.jit(lambda x: x + 1))(1.0))
    return eqn.params["out_shardings"][0]


@public("filtered_transforms.extend")
def bind_jit(equation: Equation, jaxpr: AnyJaxpr, inputs: Sequence[Any]) -> list[Any]:
    """What the equation of a jitted function returns, with another jaxpr of the same arguments.

    **Arguments:**

    - `equation`: of which `inner_programs` is an `InnerCall` of kind `"jit"`.
    - `jaxpr`: closed. It may have more results: how they lie on devices, JAX decides.
    - `inputs`: the operands.

    **Returns:** the list of all results, those of the equation first.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import bind_jit, equations

    (equation,) = equations(jax.make_jaxpr(jax.jit(jnp.sin))(0.0))
    both = jax.make_jaxpr(lambda x: (jnp.sin(x), jnp.cos(x)))(0.0)
    assert bind_jit(equation, both, [0.0]) == [0.0, 1.0]
    ```
    """
    params = equation.params
    more = len(jaxpr_output_types(jaxpr)) - len(equation.outputs)
    return equation.bind(
        inputs,
        jaxpr=jaxpr,
        out_shardings=(*params["out_shardings"], *[unspecified_sharding()] * more),
        out_layouts=(*params["out_layouts"], *[None] * more),
    )
