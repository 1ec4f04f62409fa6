"""`TreeWLCustom`: showing leaves as `tree_pformat` does, in whatever `wadler_lindig` prints."""

import dataclasses as dc
from collections.abc import Callable
from typing import Any

import wadler_lindig as wl

from tree_surgery._public import public

from .document import is_shown_by_shape, short_array, truncated, wrapper_document


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

    def __call__(self, obj: object) -> wl.AbstractDoc | None:
        if self.truncate_leaf(obj):
            return truncated(obj)
        if is_shown_by_shape(obj):
            return short_array(obj, self.short_arrays, self.struct_as_array)
        return wrapper_document(obj) if callable(obj) else None
