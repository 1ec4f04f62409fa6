"""A partial application whose function and arguments are children of the tree."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tree_surgery.extend import public

from ._module import Module

R_co = TypeVar("R_co", covariant=True)


@public
class Partial(Module, Generic[R_co]):
    """Like `functools.partial`, but a PyTree: function and arguments are traced, not hidden.

    **Arguments:**

    - `func`: the callable, itself possibly a PyTree.
    - `*args`: its first positional arguments.
    - `**kwargs`: some of its keyword arguments.

    Calling `Partial(func, *args, **kwargs)(*more, **others)` calls
    `func(*args, *more, **kwargs, **others)`. A keyword that both give is a `TypeError`.

    For type checkers, `Partial[T]` returns a `T`.

    `jax.tree_util.Partial` differs in that its function is static.

    !!! example

        ```python
        import jax
        from pytree_module import Partial

        power = Partial(lambda x, n: x**n, n=3)
        assert power(2) == 8
        assert len(jax.tree_util.tree_leaves(power)) == 2  # the function and n
        ```
    """

    __scope__ = None  # it only calls `func`

    func: Callable[..., R_co]
    args: tuple[Any, ...]
    keywords: dict[str, Any]

    def __init__(self, func: Callable[..., R_co], /, *args: object, **kwargs: object):
        self.func = func
        self.args = args
        self.keywords = kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> R_co:
        return self.func(*self.args, *args, **kwargs, **self.keywords)
