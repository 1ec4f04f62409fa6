"""Axis specifications: which axis of each leaf is mapped."""

import dataclasses
import inspect
from typing import Any

import jax.tree_util as jtu

from filtered_transforms._filters.predicates import array_mask, is_array
from tree_surgery import path_str
from tree_surgery.extend import public


@public
@dataclasses.dataclass(frozen=True)
class if_array:
    """An axis for arrays, and none for everything else: `if_array(axis)(x)`.

    **Arguments:**

    - `axis`: what to return for an array, as `is_array`.

    It is a leaf of trees of axes, as `None` and integers are.

    ```python
    import jax.numpy as jnp
    from filtered_transforms import if_array

    assert if_array(1)(jnp.ones((2, 3))) == 1 and if_array(1)("relu") is None
    ```
    """

    axis: int

    def __call__(self, x: object) -> int | None:
        return self.axis if is_array(x) else None


def axes_of(spec: Any, tree: Any, leaves: list[Any], name: str) -> list[Any]:
    """The axis for each of the `leaves` of `tree`.

    **Raises:** `ValueError` if `spec` is no prefix of `tree`, or holds something that is neither
    `None`, `int` nor callable.
    """
    if spec.__class__ is if_array:
        axis = spec.axis
        return [axis if array else None for array in array_mask(leaves)]
    if spec is None or isinstance(spec, int):
        return [spec] * len(leaves)
    specs, treedef = jtu.tree_flatten(spec, is_leaf=_is_spec)
    try:
        subtrees = treedef.flatten_up_to(tree)
    except ValueError as error:
        found = jtu.tree_structure(tree)
        is_in = name == "in_axes"
        raise ValueError(
            f"`{name}` does not fit what it is for: pytree structure error. {error} `{name}` is "
            f"{spec!r}; the structure is {found}."
            + (" `in_axes` is a prefix of the tuple of the positional arguments." * is_in)
        ) from None
    axes: list[Any] = []
    for i, (one, subtree) in enumerate(zip(specs, subtrees, strict=True)):
        below = jtu.tree_leaves(subtree)
        if one is None or isinstance(one, int):
            axes += [one] * len(below)
        elif callable(one):
            axes += [one(leaf) for leaf in below]
        else:
            path = jtu.tree_leaves_with_path(spec, is_leaf=_is_spec)[i][0]
            raise ValueError(
                f"`in_axes` and `out_axes` must consist of None, ints, and callables only. "
                f"`{name}` has a {type(one).__name__} at {path_str(path)}: {one!r}."
            )
    return axes


def _is_spec(x: Any) -> bool:
    return x is None


def positional_axes(fun: Any, axes: dict[str, Any], size: int, default: Any) -> tuple[Any, ...]:
    """A dictionary of axes by name of parameter, as a tuple for `size` positional arguments.

    **Raises:** `ValueError` if a name is no parameter, or its argument is not given.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(fun).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds][:size]
    unknown = tuple(name for name in axes if name not in names)
    if unknown:
        raise ValueError(
            f"The following `in_axes` did not correspond to any argument: {unknown}. The "
            f"positional arguments given are {names}."
        )
    given = [axes.get(name, default) for name in names]
    return (*given, *[default] * (size - len(given)))
