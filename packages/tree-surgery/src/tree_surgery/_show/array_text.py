"""`array_text`: an array in the text of an error."""

from typing import Protocol

from tree_surgery._public import public


class HasDtypeAndShape(Protocol):
    """An array, a struct or a tracer: all that knows its dtype and its shape."""

    @property
    def dtype(self) -> object: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@public("tree_surgery.extend")
def array_text(x: HasDtypeAndShape) -> str:
    """An array is written as its dtype and its shape: `float32[2,3]`.

    **Arguments:**

    - `x`: an array of JAX or NumPy, a `jax.ShapeDtypeStruct`, or what else has a dtype and a shape.

    **Returns:**

    A string, the same whether the values of the array are known or not.

    ```python
    import jax.numpy as jnp
    from tree_surgery.extend import array_text

    assert array_text(jnp.ones((2, 3))) == "float32[2,3]"
    ```
    """
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"
