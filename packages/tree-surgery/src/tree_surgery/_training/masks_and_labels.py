"""`tree_mask` and `tree_labels`: selections as the trees of booleans or labels that optax takes."""

from collections.abc import Mapping
from typing import Any, Final

import jax.tree_util as jtu

from tree_surgery._errors import WhereError
from tree_surgery._nodes.key_paths import leaf_paths
from tree_surgery._public import public
from tree_surgery._select.selectors import SelectorLike, selection_mask

_MISSING: Final[Any] = object()


@public
@jtu.register_pytree_node_class
class Labels:
    """The labels of a tree that can be called itself, as `optax` takes them: as a function.

    `optax.multi_transform` calls what can be called to get the labels, and of a model that would be
    its `__call__`. This one gives the labels. As a PyTree it holds the same labels.

    - `tree`: the labels, as a tree.

    ```python
    from tree_surgery import Labels

    assert Labels(["slow", "fast"])([1.0, 2.0]) == ["slow", "fast"]
    ```

    [`tree_surgery.tree_labels`][] makes it where it is needed.
    """

    __slots__ = ("tree",)

    tree: Any

    def __init__(self, tree: object):
        self.tree = tree

    def __call__(self, params: object = None) -> Any:
        return self.tree

    def __repr__(self) -> str:
        return f"Labels({self.tree!r})"

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.tree,), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Any]) -> "Labels":
        return cls(*children)


@public
def tree_mask(tree: object, where: SelectorLike) -> Any:
    """The tree with `True` for each leaf that is selected, or in a selected node, and else `False`.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector (see [`tree_surgery.where`][]).

    **Returns:**

    A tree of the same structure, all of whose leaves are `bool`: for `optax.masked`, the `mask` of
    `optax.adamw`, or `partition` of the filtered transformations.

    **Raises:**

    `WhereError` if a pattern matches nothing.

    ```python
    from tree_surgery import tree_mask

    model = {"layers": [{"w": 1.0, "b": 2.0}, {"w": 3.0, "b": None}]}
    mask = tree_mask(model, "**.w")
    assert mask == {"layers": [{"w": True, "b": False}, {"w": True, "b": None}]}
    ```
    """
    return jtu.tree_structure(tree).unflatten(selection_mask(where, tree))


@public
def tree_labels(
    tree: object, labels: Mapping[Any, SelectorLike], default: object = _MISSING
) -> Any:
    """The tree with a label for each leaf: the first of which the selector selects it.

    **Arguments:**

    - `tree`: a PyTree.
    - `labels`: a mapping from labels to selectors (see [`tree_surgery.where`][]). A leaf that
        several of them select, itself or within a node, gets the first.
    - `default`: the label of the leaves that none of them selects.

    **Returns:**

    A tree of the same structure whose leaves are the labels, for `optax.multi_transform`. If that
    tree could be called, as many models can, `optax` would call it; then it comes in a `Labels`,
    which gives it when it is called, and has it as its attribute `tree`.

    **Raises:**

    `WhereError` if a pattern matches nothing, or if there is a leaf without a label.

    ```python
    from tree_surgery import tree_labels

    model = {"layers": [{"w": 1.0, "b": 2.0}, {"w": 3.0, "b": None}]}
    labels = tree_labels(model, {"slow": "layers[0]", "decay": "**.w"}, default="plain")
    slow = {"w": "slow", "b": "slow"}
    assert labels == {"layers": [slow, {"w": "decay", "b": None}]}
    ```
    """
    leaves, treedef = jtu.tree_flatten(tree)
    chosen = [default] * len(leaves)
    # The first selector wins, so it is applied last.
    for label, where in reversed(list(labels.items())):
        selected = zip(selection_mask(where, tree), chosen, strict=True)
        chosen = [label if hit else other for hit, other in selected]
    missing = [i for i, label in enumerate(chosen) if label is _MISSING]
    if missing:
        paths = leaf_paths(tree)
        shown = ", ".join(f"`{paths[i]}`" for i in missing[:3])
        raise WhereError(
            f"`tree_labels` has no label for {shown}{', ...' if missing[3:] else ''}. Give them "
            "one by `default=...` or by another selector."
        )
    new = treedef.unflatten(chosen)
    return Labels(new) if callable(new) else new
