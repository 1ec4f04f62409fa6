"""Adding a tree of updates, as optimisers make it, to a tree of parameters."""

from typing import Any

import jax.tree_util as jtu
import numpy as np

from tree_surgery._nodes.key_paths import leaf_paths, path_str
from tree_surgery._nodes.one_level import open_node
from tree_surgery._public import public
from tree_surgery._types import Tree


def _is_none(x: Any) -> bool:
    return x is None


@public
def apply_updates(model: Tree, updates: object) -> Tree:
    """Each leaf of `updates` is added to the leaf of `model` in its place; `None` adds nothing.

    **Arguments:**

    - `model`: a PyTree.
    - `updates`: a PyTree of the same structure, except that `None` may stand for any part of
        it. This is what `optax` gives for gradients in which the leaves that are not
        differentiated are `None`.

    **Returns:**

    A tree like `model`, with the updates added. Dtypes follow the promotion rules of JAX.

    **Raises:**

    `ValueError`, naming the path, if the structures differ, if there is an update for a `None`,
    or if adding would change the shape of a leaf.

    ```python
    import jax
    import jax.numpy as jnp
    from tree_surgery import apply_updates

    model = {"weight": jnp.ones(2), "activation": jax.nn.relu}
    model = apply_updates(model, {"weight": jnp.array([0.5, -0.5]), "activation": None})
    assert model["weight"].tolist() == [1.5, 0.5]
    ```
    """
    changes, treedef = jtu.tree_flatten(updates, is_leaf=_is_none)
    try:
        leaves = treedef.flatten_up_to(model)
    except ValueError as error:
        raise _mismatch(model, updates) from error
    changed = [x for x, change in zip(leaves, changes, strict=True) if change is not None]
    if not jtu.all_leaves([x for x in changed if x is not None]):
        raise _mismatch(model, updates)
    new = [
        leaf if change is None else _add(leaf, change, updates, place)
        for place, (leaf, change) in enumerate(zip(leaves, changes, strict=True))
    ]
    return treedef.unflatten(new)


def _mismatch(model: Any, updates: Any) -> ValueError:
    return ValueError(
        f"The structure of the updates is not that of the model: {_explain(model, updates)} "
        "Only `None` may stand for a part of the model."
    )


def _explain(model: Any, updates: Any) -> str:
    """The first place at which a tree of updates does not fit."""

    def explain(model: Any, updates: Any, path: tuple[Any, ...]) -> str | None:
        if updates is None:
            return None
        ours, theirs = open_node(model), open_node(updates)
        if theirs is None:  # an update for what is not a leaf, or there is no more to compare
            return None if ours is None else told(path, model, updates)
        if type(model) is not type(updates) or ours is None:
            return told(path, model, updates)
        if len(ours[0]) != len(theirs[0]) or list(map(str, ours[0])) != list(map(str, theirs[0])):
            keys = [", ".join(path_str((key,)) for key in side[0]) for side in (ours, theirs)]
            return f"at `{path_str(path)}` the model has {keys[0]}, and the updates {keys[1]}."
        for key, x, y in zip(ours[0], ours[1], theirs[1], strict=True):
            found = explain(x, y, (*path, key))
            if found is not None:
                return found
        return None

    def told(path: tuple[Any, ...], model: Any, updates: Any) -> str:
        return (
            f"at `{path_str(path)}` the model has a `{type(model).__name__}`, and the updates a "
            f"`{type(updates).__name__}`."
        )

    return explain(model, updates, ()) or "a node has other static parts."


def _add(leaf: Any, change: Any, updates: Any, place: int) -> Any:
    if leaf is None:
        raise ValueError(
            f"`apply_updates` has an update at `{leaf_paths(updates, _is_none)[place]}`, where the "
            "model has `None`. An update for nothing must be `None` too."
        )
    try:
        new = leaf + change
    except Exception as error:
        path = leaf_paths(updates, _is_none)[place]
        error.add_note(f"This was raised as `apply_updates` added the update of `{path}`.")
        raise
    if np.shape(new) != np.shape(leaf):
        raise ValueError(
            "`apply_updates` would change the shape of "
            f"`{leaf_paths(updates, _is_none)[place]}`: the leaf has shape {np.shape(leaf)} and "
            f"its update has shape {np.shape(change)}."
        )
    return new
