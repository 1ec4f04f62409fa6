"""`closure_to_pytree`: functions whose captured values are leaves."""

import types
from typing import Any

import jax.tree_util as jtu

from filtered_transforms._types import T
from pytree_module import Module, field
from tree_surgery.extend import public


class _Code:
    """A function without its captured values.

    Equal for two executions of one `def`, if the defaults are the same objects.
    """

    __slots__ = ("function",)

    def __init__(self, function: types.FunctionType):
        self.function = function

    @property
    def _parts(self) -> tuple[Any, ...]:
        f = self.function
        defaults = *(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()
        return f.__code__, id(f.__globals__), tuple(map(id, defaults))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __repr__(self) -> str:
        return f"<function {self.function.__qualname__}>"

    def closed_over(self, contents: tuple[Any, ...]) -> types.FunctionType:
        f = self.function
        if not contents:
            return f
        cells = tuple(map(types.CellType, contents))
        made = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, cells)
        made.__kwdefaults__ = f.__kwdefaults__
        return made


class Closure(Module):
    """A function whose captured values are children of the tree."""

    __scope__ = None  # its calls are not a layer

    fn: _Code = field(static=True)
    contents: tuple[Any, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn.closed_over(self.contents)(*args, **kwargs)


def _converted(leaf: Any, inside: tuple[types.FunctionType, ...]) -> Any:
    if type(leaf) is not types.FunctionType or leaf in inside:
        return leaf
    if leaf.__closure__ is None and "<locals>" not in leaf.__qualname__:
        return leaf  # a global function: there is only one object
    contents: list[Any] = []
    for cell in leaf.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # a variable without a value
            return leaf
        if value is leaf or any(value is f for f in inside):
            return leaf  # a recursive function: its variable refers to itself
        contents.append(_tree(value, (*inside, leaf)))
    return Closure(_Code(leaf), tuple(contents))


def _tree(tree: Any, inside: tuple[types.FunctionType, ...]) -> Any:
    return jtu.tree_map(lambda leaf: _converted(leaf, inside), tree)


@public("filtered_transforms.extend")
def closure_to_pytree(tree: T) -> T:
    """The tree with each local function as a node whose children are its captured values.

    So code that returns closures, such as the optimisers of optax, can be passed to a
    transformation by value: captured arrays are leaves, and the rest decides whether two functions
    are equal.

    **Arguments:**

    - `tree`: any PyTree, or a function. Global variables are not children, nor are the variables
        of a recursive function.

    **Returns:** a tree whose functions can be called as before.

    ```python
    import jax
    import jax.numpy as jnp
    from filtered_transforms.extend import closure_to_pytree

    def scaled_by(factor):
        def scaled(x):
            return factor * x
        return scaled

    f = closure_to_pytree(scaled_by(jnp.array(3.0)))
    assert f(2.0) == 6.0 and jax.tree.leaves(f) == [3.0]
    assert jax.tree.map(lambda leaf: leaf + 1, f)(2.0) == 8.0
    ```
    """
    return _tree(tree, ())
