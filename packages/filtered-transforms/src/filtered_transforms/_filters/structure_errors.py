"""Errors about trees that must agree in all but the values of their arrays.

What a loop carries must keep its structure, and branches must return the same one. Non-array leaves
are part of it, since they are fixed while JAX traces.
"""

from typing import Any

import jax.tree_util as jtu

import tree_surgery.extend
from tree_surgery import path_str
from tree_surgery.extend import array_text

from .eval_shape import abstract_mask
from .predicates import array_mask
from .static_leaf import same_static
from .static_nodes import Held, is_number


def structure_difference(x: Any, y: Any) -> tuple[str, Any, Any]:
    """Where two trees with different treedefs first differ: the path, and what each has there."""
    found = tree_surgery.extend.first_difference(x, y, static_equal=same_static)
    return ("<root>", x, y) if found is None else (path_str(found.path), found.one, found.other)


def describe(x: Any) -> str:
    """A leaf or a node in an error message: arrays by dtype and shape, large nodes by size."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"an array {array_text(x)}"
    shown = repr(x) if jtu.all_leaves([x]) else tree_surgery.tree_pformat(x, width=1000)
    if len(shown) <= 80:
        return shown
    size = jtu.tree_structure(x).num_leaves
    return f"a {type(x).__name__} of {size} leaves"


def number_hint(*values: Any) -> str:
    """How to make a value vary that is static here: the last sentence of an error."""
    number = next((x for x in values if is_number(x)), None)
    if number is None:
        return "Non-array leaves are fixed while JAX traces, and cannot depend on traced values."
    return (
        "Python numbers are static here, as everywhere in filtered transformations: to let it "
        f"vary, make it an array, `jnp.asarray({number!r})`."
    )


def hold_like(expected: Any, found: Any, name: str, what: str) -> Any:
    """`found`, with a `Held` around each leaf that is not an array in `expected`: not traced.

    **Raises:** `TypeError` if the structures or the non-array leaves differ.
    """
    before, treedef = jtu.tree_flatten(expected)
    after, found_treedef = jtu.tree_flatten(found)
    if treedef != found_treedef:
        path, old, new = structure_difference(expected, found)
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
            fits = not arrays_after[i] and same_static(old, new)
            rest = number_hint(old)
        if not fits:
            path = path_str(jtu.tree_leaves_with_path(expected)[i][0])
            raise TypeError(
                f"`{name}`: {what} may not change its non-array leaves. At {path} it was "
                f"{describe(old)}, and the function returned {describe(new)}. {rest}"
            )
    return treedef.unflatten(
        [leaf if array else Held(leaf) for leaf, array in zip(after, arrays_before, strict=True)]
    )


def agreement(name: str, outs: list[Any]) -> frozenset[int]:
    """Check that the results of branches agree, with shapes for arrays.

    **Returns:** the numbers of the leaves where some branches have an array, and others a Python
    number. JAX makes an array of the number.

    **Raises:** `TypeError` if two results differ in structure, or in a non-array leaf.
    """
    first, *others = outs
    numbers: set[int] = set()
    for branch, out in enumerate(others, start=1):
        if jtu.tree_structure(first) != jtu.tree_structure(out):
            path, x, y = structure_difference(first, out)
            raise TypeError(
                f"`{name}`: all branches must return the same structure. At {path}, "
                f"{branch_name(name, 0)} returned {describe(x)}, and {branch_name(name, branch)} "
                f"{describe(y)}."
            )
        numbers |= _leaf_agreement(name, branch, first, out)
    return frozenset(numbers)


def _leaf_agreement(name: str, branch: int, first: Any, out: Any) -> set[int]:
    """`agreement` of the leaves of the first result and that of number `branch`."""
    numbers: set[int] = set()
    leaves, others = jtu.tree_leaves(first), jtu.tree_leaves(out)
    arrays = zip(abstract_mask(leaves), abstract_mask(others), strict=True)
    for i, (is_array, is_other_array) in enumerate(arrays):
        x, y = leaves[i], others[i]
        if is_array and is_other_array:
            continue
        if (is_array and is_number(y)) or (is_other_array and is_number(x)):
            numbers.add(i)
        elif is_array or is_other_array or not same_static(x, y):
            raise TypeError(
                f"`{name}`: the branches returned different non-array leaves. At "
                f"{path_str(jtu.tree_leaves_with_path(first)[i][0])}, "
                f"{branch_name(name, 0)} returned {describe(x)}, and "
                f"{branch_name(name, branch)} {describe(y)}. {number_hint(x, y)}"
            )
    return numbers


def branch_name(name: str, i: int) -> str:
    """How an error message calls a branch."""
    return ("`true_fun`", "`false_fun`")[i] if name == "filter_cond" else f"branch {i}"
