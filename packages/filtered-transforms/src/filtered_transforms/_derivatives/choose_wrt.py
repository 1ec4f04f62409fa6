"""What to differentiate: the arrays that `wrt=` selects, by a filter or by a selector of paths."""

from typing import Any

from filtered_transforms._filters.partition import mask_of
from filtered_transforms._filters.predicates import inexact_mask
from tree_surgery import Selector, tree_mask


def differentiated(tree: Any, leaves: list[Any], wrt: Any) -> list[bool]:
    """For each of the `leaves` of `tree`, whether it is an inexact array that `wrt` selects.

    **Raises:** `WhereError` if a pattern matches nothing; `ValueError` if a filter does not fit.
    """
    inexact = inexact_mask(leaves)
    if wrt is None:
        return inexact
    if _is_selector(wrt):
        wrt = tree_mask(tree, wrt)
    _, selected, _ = mask_of(tree, wrt, None, "wrt")
    return [both and bool(here) for both, here in zip(inexact, selected, strict=True)]


def _is_selector(wrt: Any) -> bool:
    # A list may be a filter (booleans and functions, a prefix of the tree) or a union of selectors.
    # Strings, types and selectors never occur in a filter.
    if isinstance(wrt, (list, tuple)):
        return any(map(_is_selector, wrt))
    return isinstance(wrt, (str, type, Selector))
