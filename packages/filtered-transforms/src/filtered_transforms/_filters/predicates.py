"""What counts as an array: the functions that filters are usually made of."""

from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from filtered_transforms._jax.tracers import Tracer
from filtered_transforms._types import AnyArray
from tree_surgery.extend import public


@public
def is_array(element: object) -> TypeGuard[AnyArray]:
    """True for JAX arrays (traced ones and typed keys included), NumPy arrays and NumPy scalars.

    **Arguments:**

    - `element`: any Python object.

    **Returns:** a `bool`. Python numbers are not arrays: see `is_array_like`.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import is_array

    assert is_array(jnp.arange(3)) and not is_array(3.0)
    ```
    """
    return isinstance(element, (np.ndarray, np.generic, jax.Array))


@public
def is_array_like(element: object) -> TypeGuard[ArrayLike]:
    """True for all that `jax.numpy` takes as an array: arrays, Python numbers, `__jax_array__`.

    **Arguments:**

    - `element`: any Python object.

    **Returns:** a `bool`. Lists are not arrays.

    ```python
    from filtered_transforms import is_array_like

    assert is_array_like(1.0) and is_array_like(True) and not is_array_like([1.0])
    ```
    """
    return isinstance(
        element, (np.ndarray, np.generic, jax.Array, bool, int, float, complex)
    ) or hasattr(element, "__jax_array__")


@public
def is_inexact_array(element: object) -> TypeGuard[AnyArray]:
    """True for arrays, as `is_array`, of floating-point or complex dtype: what has a gradient.

    **Arguments:**

    - `element`: any Python object.

    **Returns:** a `bool`. The extended types of JAX (`bfloat16`, `float8_...`) are floating-point,
    in NumPy arrays too.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import is_inexact_array

    assert is_inexact_array(jnp.ones(3)) and not is_inexact_array(jnp.arange(3))
    ```
    """
    return is_array(element) and jnp.issubdtype(element.dtype, jnp.inexact)


@public
def is_inexact_array_like(element: object) -> TypeGuard[ArrayLike]:
    """True for arrays and numbers, as `is_array_like`, of floating-point or complex dtype.

    **Arguments:**

    - `element`: any Python object.

    **Returns:** a `bool`.

    ```python
    from filtered_transforms import is_inexact_array_like

    assert is_inexact_array_like(1.0) and not is_inexact_array_like(1)
    ```
    """
    if isinstance(element, (np.ndarray, np.generic, jax.Array)):
        return jnp.issubdtype(element.dtype, jnp.inexact)
    if isinstance(element, (float, complex)):
        return True
    convert = getattr(element, "__jax_array__", None)
    return convert is not None and is_inexact_array(convert())


_MAX_TYPES = 4096


class _ArrayTypes(dict[type, bool]):
    """Whether the instances of each type are arrays, found at the first instance.

    Looking a type up is ten times quicker than `isinstance(x, jax.Array)`. A tracer may stand for
    something that is not an array (a `jax.Ref`): its type has no entry, and the instance is asked.
    Written and read wherever leaves are told apart; emptied when it is full.
    """

    def of(self, leaf: Any) -> bool:
        found = self.get(leaf.__class__)
        if found is None:
            found = is_array(leaf)
            if not isinstance(leaf, Tracer):
                if len(self) >= _MAX_TYPES:  # it keeps classes alive
                    self.clear()
                self[leaf.__class__] = found
        return found


ARRAY_TYPES = _ArrayTypes()


def all_arrays(elements: tuple[Any, ...]) -> bool:
    """Whether `is_array` holds for each element."""
    known = ARRAY_TYPES
    for element in elements:  # noqa: SIM110 (`all` over a generator takes twice as long)
        if not (known.get(element.__class__) or known.of(element)):
            return False
    return True


def array_mask(leaves: list[Any]) -> list[bool]:
    """`is_array` of each leaf."""
    known = ARRAY_TYPES
    try:
        return [known[leaf.__class__] for leaf in leaves]
    except KeyError:
        return [known.of(leaf) for leaf in leaves]


_INEXACT: dict[Any, bool] = {}


def _inexact_dtype(dtype: Any) -> bool:
    found = _INEXACT.get(dtype)
    if found is None:
        found = _INEXACT[dtype] = jnp.issubdtype(dtype, jnp.inexact)
    return found


def inexact_mask(leaves: list[Any]) -> list[bool]:
    """`is_inexact_array` of each leaf."""
    return [
        array and _inexact_dtype(leaf.dtype)
        for leaf, array in zip(leaves, array_mask(leaves), strict=True)
    ]
