"""Adding a tree of updates, as optimisers make it, to a tree of parameters."""

from typing import Any

import jax.tree_util as jtu
import numpy as np

from ._path import path_str


def _is_none(x: Any) -> bool:
    return x is None


def apply_updates(model: Any, updates: Any) -> Any:
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
    return jtu.tree_map_with_path(_add, updates, model, is_leaf=_is_none)


def _add(path: tuple[Any, ...], update: Any, leaf: Any) -> Any:
    if update is None:
        return leaf
    if leaf is None:
        raise ValueError(
            f"`apply_updates` has an update at `{path_str(path)}`, where the model has `None`. "
            "An update for nothing must be `None` too."
        )
    new = leaf + update
    if np.shape(new) != np.shape(leaf):
        raise ValueError(
            f"`apply_updates` would change the shape of `{path_str(path)}`: the leaf has shape "
            f"{np.shape(leaf)} and its update has shape {np.shape(update)}."
        )
    return new
