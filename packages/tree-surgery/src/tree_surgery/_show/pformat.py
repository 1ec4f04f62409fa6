"""`tree_pformat` and `tree_pprint`: a tree as text, with arrays as `f32[3,4]`."""

from collections.abc import Callable
from typing import Any

from tree_surgery._public import public

from .document import Writer
from .layout import layout


def _false(_: Any) -> bool:
    return False


@public
def tree_pformat(
    pytree: object,
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
    default value, or `repr=False`, are hidden. What wraps a function, as `jax.jit` does, is written
    as `<wrapped function name>`. A class decides for itself with a method
    `__pdoc__(self, **kwargs)`, as `wadler_lindig` has it.

    **Arguments:**

    - `pytree`: any object.
    - `width`: the width to break lines at.
    - `indent`: how far to indent what is nested.
    - `short_arrays`: whether to write arrays short. If not, their `repr` is used.
    - `struct_as_array`: whether to write a `jax.ShapeDtypeStruct` as the array it stands for, if
        arrays are short.
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
    truncate = None if truncate_leaf is _false else truncate_leaf
    writer = Writer(indent, short_arrays, struct_as_array, truncate)
    return layout(writer.write(pytree), width)


@public
def tree_pprint(
    pytree: object,
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
