"""`filter_make_jaxpr`: the jaxpr of a function with any PyTrees."""

from collections.abc import Callable
from typing import Any

import jax
import jax.tree_util as jtu

from filtered_transforms._filters.eval_shape import abstract_mask
from filtered_transforms._filters.output_structure import sign
from filtered_transforms._filters.partition import merge, split
from filtered_transforms._types import MakeJaxpr, P
from filtered_transforms._wrapper import Wrapper, decorate, module_of
from tree_surgery.extend import public


class MakeJaxprWrapper(Wrapper):
    """What `filter_make_jaxpr` returns."""

    def __init__(self, fun: Any):
        self.fun = fun
        self.__module__ = module_of(fun)

    def __call__(self, /, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        leaves, treedef = jtu.tree_flatten((args, kwargs))
        mask = abstract_mask(leaves)
        arrays, others = split(leaves, mask)
        signature: Any = None

        def flat(arrays: list[Any]) -> list[Any]:
            nonlocal signature
            positional, named = treedef.unflatten(merge(mask, arrays, others))
            found, signature = sign(self.fun(*positional, **named))
            return found

        jaxpr, shapes = jax.make_jaxpr(flat, return_shape=True)(arrays)
        count = signature.treedef.num_leaves
        dynamic: list[Any] = [None] * count
        for i, shape in zip(signature.positions, shapes, strict=True):
            dynamic[i] = shape
        static = signature.template or [None] * count
        return jaxpr, signature.treedef.unflatten(dynamic), signature.treedef.unflatten(static)

    def __repr__(self) -> str:
        return f"filter_make_jaxpr({self.fun!r})"


@public
def filter_make_jaxpr(fun: Callable[P, Any]) -> MakeJaxpr[P]:
    """The program of a function as a jaxpr.

    **Arguments:**

    - `fun`: any callable, itself possibly a PyTree.

    **Returns:**

    A function of the same arguments, of which a `jax.ShapeDtypeStruct` may stand for an array. It
    returns a triple: the `jax.core.ClosedJaxpr`, whose inputs are the arrays among the arguments in
    the order of the leaves, and whose constants are those of the function that it needs; the
    result, with a `jax.ShapeDtypeStruct` for each array and `None` elsewhere; and the rest of the
    result, with `None` for the arrays.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import filter_make_jaxpr
    from filtered_transforms.extend import equations

    jaxpr, shapes, rest = filter_make_jaxpr(lambda x, name: (x * 2, name))(jnp.ones(3), "twice")
    assert len(equations(jaxpr)) == 1 and shapes[0].shape == (3,) and rest == (None, "twice")
    ```
    """
    wrapped: Any = decorate(MakeJaxprWrapper, fun, "filter_make_jaxpr")
    return wrapped
