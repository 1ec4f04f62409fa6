"""Effects: what a program does beside its results, which keeps an equation that nobody needs.

Decided here: which effect keeps it, and what has any. Seen to work with JAX 0.7.2 to 0.12.
"""

import functools
from typing import Any

import jax

from tree_surgery.extend import public

from .jaxpr_classes import AnyJaxpr


@public("filtered_transforms.extend")
@functools.cache
def debug_effect() -> Any:
    """The effect of `jax.debug.callback`: no order, allowed everywhere, never left out. All JAX.

    For the abstract evaluation of a primitive that has to stay in a program although nobody needs
    what it returns.

    ```python
    import jax
    from filtered_transforms.extend import debug_effect

    assert debug_effect() in jax.make_jaxpr(lambda: jax.debug.print("here"))().effects
    ```
    """
    (effect,) = jax.make_jaxpr(lambda: jax.debug.callback(_nothing))().effects
    return effect


def _nothing() -> None:
    pass


@public("filtered_transforms.extend")
def jaxpr_has_effects(jaxpr: AnyJaxpr) -> bool:
    """Whether a jaxpr does anything beside its results, such as calling Python.

    **Arguments:**

    - `jaxpr`: a `jax.extend.core.ClosedJaxpr`, or a `Jaxpr`.

    ```python
    import jax
    from filtered_transforms.extend import jaxpr_has_effects

    assert jaxpr_has_effects(jax.make_jaxpr(lambda x: jax.debug.print("{}", x))(1.0))
    assert not jaxpr_has_effects(jax.make_jaxpr(lambda x: 2 * x)(1.0))
    ```
    """
    return bool(jaxpr.effects)
