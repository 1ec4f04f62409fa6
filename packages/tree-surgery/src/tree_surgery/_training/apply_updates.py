"""`apply_updates`: adding the updates of an optimiser to a tree of parameters."""

import operator
from typing import Any

import jax
import jax.tree_util as jtu
import numpy as np

from tree_surgery._compare.first_difference import first_difference
from tree_surgery._jax import Tracer
from tree_surgery._nodes.key_paths import leaf_paths, path_str
from tree_surgery._nodes.one_level import children_with_keys
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
        raise _mismatch_error(model, updates) from error
    changed = [x for x, change in zip(leaves, changes, strict=True) if change is not None]
    if not jtu.all_leaves([x for x in changed if x is not None]):
        raise _mismatch_error(model, updates)
    new = [
        leaf if change is None else _add(leaf, change, updates, position)
        for position, (leaf, change) in enumerate(zip(leaves, changes, strict=True))
    ]
    return treedef.unflatten(new)


def _mismatch_error(model: Any, updates: Any) -> ValueError:
    return ValueError(
        f"The structure of the updates is not that of the model: {_mismatch(model, updates)} "
        "Only `None` may stand for a part of the model."
    )


def _mismatch(model: Any, updates: Any) -> str:
    """The first place at which the updates do not fit the model, in words."""
    found = first_difference(model, updates, skip=lambda _, update: update is None)
    if found is None or found.kind in ("field", "static"):
        return "a node has other static parts."
    if found.kind == "keys":
        kind = ""
        sides = [
            ", ".join(path_str(key) for key, _ in children_with_keys(node))
            for node in (found.one, found.other)
        ]
    else:
        kind = "a "
        sides = [f"`{type(node).__name__}`" for node in (found.one, found.other)]
    return (
        f"at `{path_str(found.path)}` the model has {kind}{sides[0]}, and the updates "
        f"{kind}{sides[1]}."
    )


# The same as `+`: that dispatches in Python, which takes as long again as to add.
_plus = jax.jit(operator.add)


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array) and not isinstance(x, Tracer)


def _add(leaf: Any, change: Any, updates: Any, position: int) -> Any:
    if leaf is None:
        raise ValueError(
            f"`apply_updates` has an update at `{leaf_paths(updates, _is_none)[position]}`, where "
            "the model has `None`. An update for nothing must be `None` too."
        )
    try:
        new = _plus(leaf, change) if _is_array(leaf) and _is_array(change) else leaf + change
    except Exception as error:
        path = leaf_paths(updates, _is_none)[position]
        error.add_note(f"This was raised as `apply_updates` added the update of `{path}`.")
        raise
    if np.shape(new) != np.shape(leaf):
        raise ValueError(
            "`apply_updates` would change the shape of "
            f"`{leaf_paths(updates, _is_none)[position]}`: the leaf has shape {np.shape(leaf)} and "
            f"its update has shape {np.shape(change)}."
        )
    return new
