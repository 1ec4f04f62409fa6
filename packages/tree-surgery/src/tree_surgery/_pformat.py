"""`tree_pformat` and `tree_pprint`: trees as text, arrays as `f32[3,4]`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np
import wadler_lindig as wl


def _false(_: Any) -> bool:
    return False


def tree_pformat(
    pytree: Any,
    *,
    width: int = 80,
    indent: int = 2,
    short_arrays: bool = True,
    struct_as_array: bool = False,
    truncate_leaf: Callable[[Any], bool] = _false,
) -> str:
    """A tree is written as the code that would build it, with each array as its dtype and shape.

    Arrays of JAX are written as `f32[3,4]`, weakly typed ones as `weak_f32[3,4]`, typed PRNG keys
    as `key<fry>[]`, and arrays of NumPy as `f32[3,4](numpy)`. Fields of dataclasses that have their
    default value, or `repr=False`, are hidden. A function that wraps another is written as that one.
    A class decides for itself with a method `__pdoc__(self, **kwargs)` as `wadler_lindig` has it.

    **Arguments:**

    - `pytree`: any object.
    - `width`: the width to break lines at.
    - `indent`: how far to indent what is nested.
    - `short_arrays`: whether to write arrays short. If not, their `repr` is used.
    - `struct_as_array`: whether to write a `jax.ShapeDtypeStruct` as the array it stands for.
    - `truncate_leaf`: called with each object; if it returns true, only the type is written, as
        `Linear(...)`.

    **Returns:**

    A string.

    ```python
    import jax.numpy as jnp
    from tree_surgery import tree_pformat

    tree = {"weight": jnp.ones((3, 4)), "padding": (1, 2)}
    assert tree_pformat(tree) == "{'weight': f32[3,4], 'padding': (1, 2)}"
    ```

    The layout is that of P. Wadler, *A prettier printer* (1998), and C. Lindig, *Strictly pretty*
    (2000).
    """

    def custom(x: Any) -> wl.AbstractDoc | None:
        if truncate_leaf(x):
            return wl.TextDoc(f"{type(x).__name__}(...)")
        if short_arrays and isinstance(x, jax.Array | np.ndarray):
            return _array(x)
        if struct_as_array and isinstance(x, jax.ShapeDtypeStruct):
            return _array(x)
        return None

    return wl.pformat(pytree, width=width, indent=indent, short_arrays=short_arrays, custom=custom)


def tree_pprint(
    pytree: Any,
    *,
    width: int = 80,
    indent: int = 2,
    short_arrays: bool = True,
    struct_as_array: bool = False,
    truncate_leaf: Callable[[Any], bool] = _false,
) -> None:
    """As [`tree_surgery.tree_pformat`][], but prints the text to standard output."""
    print(
        tree_pformat(
            pytree,
            width=width,
            indent=indent,
            short_arrays=short_arrays,
            struct_as_array=struct_as_array,
            truncate_leaf=truncate_leaf,
        )
    )


def _array(x: Any) -> wl.AbstractDoc:
    kind = "numpy" if isinstance(x, np.ndarray) else None
    weak = "weak_" if getattr(x, "weak_type", False) else ""
    *_, dtype = str(x.dtype).rsplit(".")
    return wl.array_summary(x.shape, weak + dtype, kind)
