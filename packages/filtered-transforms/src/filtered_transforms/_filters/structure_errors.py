"""Whether two trees agree in all but the values of their arrays, and the errors if they do not."""

import dataclasses
from typing import Any

import jax.tree_util as jtu

from tree_surgery import path_str, tree_pformat

from .eval_shape import abstract_mask
from .predicates import array_mask
from .static_leaf import same_value
from .static_nodes import Held, is_number


def _one_level(tree: Any) -> tuple[list[tuple[Any, Any]], Any]:
    return jtu.tree_flatten_with_path(tree, is_leaf=lambda x: x is not tree)


def first_difference(x: Any, y: Any, path: tuple[Any, ...] = ()) -> tuple[str, Any, Any] | None:
    """Where two trees first differ in structure, and what each has there."""
    below_x, treedef_x = _one_level(x)
    below_y, treedef_y = _one_level(y)
    if below_x and below_x[0][0] == () and below_y and below_y[0][0] == ():
        return None  # two leaves
    if treedef_x != treedef_y:
        if type(x) is type(y) and dataclasses.is_dataclass(x):
            for field in dataclasses.fields(x):
                key = jtu.GetAttrKey(field.name)
                inner = getattr(x, field.name, None), getattr(y, field.name, None)
                is_child = any(below == (key,) for below, _ in below_x)
                if not is_child and not same_value(*inner):
                    return path_str((*path, key)), *inner
        return path_str(path), x, y
    for (keys, child_x), (_, child_y) in zip(below_x, below_y, strict=True):
        found = first_difference(child_x, child_y, (*path, *keys))
        if found is not None:
            return found
    return None


def describe(x: Any) -> str:
    """A leaf, or a node, in an error message."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"an array {x.dtype}[{','.join(map(str, x.shape))}]"
    shown = repr(x) if jtu.all_leaves([x]) else tree_pformat(x, width=1000)
    if len(shown) <= 80:
        return shown
    size = jtu.tree_structure(x).num_leaves
    return f"a {type(x).__name__} of {size} leaves"


def number_hint(*values: Any) -> str:
    """What to do about a Python number that is to vary."""
    number = next((x for x in values if is_number(x)), None)
    if number is None:
        return "What is no array is fixed while JAX traces, and cannot depend on traced values."
    return (
        "Python numbers are static here, as everywhere in filtered transformations: to let it "
        f"vary, make it an array, `jnp.asarray({number!r})`."
    )


def hold_like(expected: Any, found: Any, name: str, what: str) -> Any:
    """`found`, for JAX, with the leaves that are no arrays in nodes where `expected` has such.

    **Raises:** `TypeError` if the structure is another, or a leaf that is no array.
    """
    before, treedef = jtu.tree_flatten(expected)
    after, found_treedef = jtu.tree_flatten(found)
    if treedef != found_treedef:
        path, old, new = first_difference(expected, found) or ("<root>", expected, found)
        raise TypeError(
            f"`{name}`: the structure of {what} may not change. At {path} it was "
            f"{describe(old)}, and the function returned {describe(new)}."
            + (" " + number_hint(old) if is_number(old) else "")
        )
    arrays_before, arrays_after = array_mask(before), array_mask(after)
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if arrays_before[i]:
            fits = arrays_after[i] or is_number(new)  # JAX makes an array of a number
            rest = "It must stay an array."
        else:
            fits = not arrays_after[i] and same_value(old, new)
            rest = number_hint(old)
        if not fits:
            path = path_str(jtu.tree_leaves_with_path(expected)[i][0])
            raise TypeError(
                f"`{name}`: {what} may not change in what is no array. At {path} it was "
                f"{describe(old)}, and the function returned {describe(new)}. {rest}"
            )
    return treedef.unflatten(
        [leaf if array else Held(leaf) for leaf, array in zip(after, arrays_before, strict=True)]
    )


def agreement(name: str, outs: list[Any]) -> frozenset[int]:
    """Checks the results of branches, with shapes for arrays, against each other.

    **Returns:** the numbers of the leaves where some branches have an array, and others a Python
    number, of which JAX makes an array.

    **Raises:** `TypeError` if two have another structure, or another leaf that is no array.
    """
    first, *others = outs
    leaves, treedef = jtu.tree_flatten(first)
    numbers: set[int] = set()
    for branch, out in enumerate(others, start=1):
        found, found_treedef = jtu.tree_flatten(out)
        if treedef != found_treedef:
            path, x, y = first_difference(first, out) or ("<root>", first, out)
            raise TypeError(
                f"`{name}`: all branches must return the same structure. At {path}, "
                f"{branch_name(name, 0)} returned {describe(x)}, and {branch_name(name, branch)} "
                f"{describe(y)}."
            )
        arrays = zip(abstract_mask(leaves), abstract_mask(found), strict=True)
        for i, (is_array, is_other_array) in enumerate(arrays):
            x, y = leaves[i], found[i]
            if is_array and is_other_array:
                continue
            if (is_array and is_number(y)) or (is_other_array and is_number(x)):
                numbers.add(i)
            elif is_array or is_other_array or not same_value(x, y):
                raise TypeError(
                    f"`{name}`: the branches returned different values that are no arrays. At "
                    f"{path_str(jtu.tree_leaves_with_path(first)[i][0])}, "
                    f"{branch_name(name, 0)} returned {describe(x)}, and "
                    f"{branch_name(name, branch)} {describe(y)}. {number_hint(x, y)}"
                )
    return frozenset(numbers)


def branch_name(name: str, i: int) -> str:
    """How an error message calls a branch."""
    return ("`true_fun`", "`false_fun`")[i] if name == "filter_cond" else f"branch {i}"
