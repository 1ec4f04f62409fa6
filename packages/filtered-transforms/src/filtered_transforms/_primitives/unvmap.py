"""Reductions over everything, the axes of `vmap` included."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from filtered_transforms._jax.jaxpr_classes import Primitive
from filtered_transforms._jax.operands import ShapedArray
from filtered_transforms._jax.primitives import new_primitive, set_rules
from filtered_transforms._tracing.finalise import register_impl_finalisation
from tree_surgery.extend import public


def _reduction(name: str, reduce: Callable[[Any], Any], to_bool: bool) -> Primitive:
    """A primitive from an array of any shape to a scalar, of which `vmap` sees one for all."""
    primitive = new_primitive(name, multiple_results=False)

    def shapes(x: Any) -> Any:
        return ShapedArray((), bool if to_bool else x.dtype)

    def batch(operands: Any, dims: Any) -> Any:
        return primitive.bind(operands[0]), None

    set_rules(primitive, reduce, shapes, batch=batch)
    register_impl_finalisation(primitive)
    return primitive


unvmap_any_p: Primitive = _reduction("unvmap_any", jnp.any, to_bool=True)
unvmap_all_p: Primitive = _reduction("unvmap_all", jnp.all, to_bool=True)
unvmap_max_p: Primitive = _reduction("unvmap_max", jnp.max, to_bool=False)
unvmap_min_p: Primitive = _reduction("unvmap_min", jnp.min, to_bool=False)


@public("filtered_transforms.extend")
def unvmap_any(x: ArrayLike) -> jax.Array:
    """Whether any element is true, of all examples of a `vmap` together.

    **Arguments:**

    - `x`: an array of any shape, of booleans or numbers.

    **Returns:** a boolean scalar, which is not batched: one value for all examples. So it can be
    the predicate of a `jax.lax.cond` that stays one, or of a loop that runs as long as any example
    needs.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import unvmap_any

    some = jax.vmap(unvmap_any, out_axes=None)(jnp.array([False, True]))
    assert some.shape == () and some
    ```
    """
    return unvmap_any_p.bind(jnp.asarray(x))


@public("filtered_transforms.extend")
def unvmap_all(x: ArrayLike) -> jax.Array:
    """Whether all elements are true, of all examples of a `vmap` together.

    **Arguments** and **Returns:** as `unvmap_any`.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import unvmap_all

    assert not jax.vmap(unvmap_all, out_axes=None)(jnp.array([False, True]))
    ```
    """
    return unvmap_all_p.bind(jnp.asarray(x))


@public("filtered_transforms.extend")
def unvmap_max(x: ArrayLike) -> jax.Array:
    """The largest element, of all examples of a `vmap` together.

    **Arguments:**

    - `x`: an array of real numbers, of any shape. It cannot be differentiated.

    **Returns:** a scalar of the dtype of `x`, which is not batched.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import unvmap_max

    assert jax.vmap(unvmap_max, out_axes=None)(jnp.arange(3)) == 2
    ```
    """
    return unvmap_max_p.bind(jnp.asarray(x))


@public("filtered_transforms.extend")
def unvmap_min(x: ArrayLike) -> jax.Array:
    """The smallest element, of all examples of a `vmap` together.

    **Arguments** and **Returns:** as `unvmap_max`.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import unvmap_min

    assert jax.vmap(unvmap_min, out_axes=None)(jnp.arange(3)) == 0
    ```
    """
    return unvmap_min_p.bind(jnp.asarray(x))
