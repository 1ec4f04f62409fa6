"""How trees are shown by `wadler_lindig` itself: a function for its argument `custom`."""

import dataclasses as dc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from tree_surgery._public import public

if TYPE_CHECKING:  # what prints is imported when something is printed
    import wadler_lindig as wl


@public
@dc.dataclass(frozen=True)
class TreeWLCustom:
    """Shows leaves as `tree_pformat` does, in what `wadler_lindig` prints: its argument `custom`.

    **Arguments:**

    - `truncate_leaf`: a function of a node; where it is true, `Name(...)` is shown.
    - `short_arrays`: whether arrays are shown by dtype and shape.
    - `struct_as_array`: whether a `jax.ShapeDtypeStruct` is shown as a short array, if arrays are
        short.

    Called with an object, it returns a `wadler_lindig.AbstractDoc`, or `None` to leave the object
    to `wadler_lindig`.

    ```python
    import jax.numpy as jnp
    import wadler_lindig as wl
    from tree_surgery import TreeWLCustom

    custom = TreeWLCustom(lambda node: isinstance(node, dict), True, False)
    assert wl.pformat([jnp.ones(3), {"a": 1}], custom=custom) == "[f32[3], dict(...)]"
    ```
    """

    truncate_leaf: Callable[[Any], bool]
    short_arrays: bool
    struct_as_array: bool

    def __call__(self, obj: object) -> "wl.AbstractDoc | None":
        from .document import array_document, truncated, wrapper_document

        if self.truncate_leaf(obj):
            return truncated(obj)
        if isinstance(obj, jax.Array | np.ndarray):
            return array_document(obj) if self.short_arrays else None
        if isinstance(obj, jax.ShapeDtypeStruct):
            return array_document(obj) if self.struct_as_array and self.short_arrays else None
        return wrapper_document(obj) if callable(obj) else None
