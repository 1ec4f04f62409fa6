"""Effects: what keeps an equation in a program although nobody needs its results.

Decided here: which effect that is. Seen to work with JAX 0.7.2 to 0.12.
"""

import functools
from typing import Any

import jax

from tree_surgery.extend import public


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
