"""Switching a whole model between training and inference."""

from typing import Any, TypeVar

import jax.tree_util as jtu

from tree_surgery import tree_at
from tree_surgery.extend import public

_T = TypeVar("_T")


def _marked(node: Any) -> bool:
    return hasattr(node, "inference") and not jtu.all_leaves([node])


def _nodes(pytree: Any) -> list[Any]:
    """Every node of the tree, at any depth, that has an attribute `inference`."""
    found = [pytree] if _marked(pytree) else []
    flag = pytree.inference if found else None  # about to be replaced: not looked into

    def stop(x: Any) -> bool:
        return x is not pytree and (x is flag or _marked(x))

    for x in jtu.tree_leaves(pytree, is_leaf=stop):
        if x is not flag and _marked(x):
            found.extend(_nodes(x))
    return found


@public
def inference_mode(pytree: _T, value: bool = True) -> _T:
    """Sets the attribute `inference` of every node of a tree.

    Layers such as `Dropout` and `BatchNorm` have one, and do something else if it is true.

    **Arguments:**

    - `pytree`: a model, or any PyTree of models. Nodes of your own with a field `inference` take
        part.
    - `value`: what to set it to; `False` switches back to training.

    **Returns:**

    A copy of `pytree`. Nothing else in it changes.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Dropout, Linear, Sequential, inference_mode

        model = Sequential([Linear(3, 3, key=jax.random.key(0)), Dropout(0.5)])
        evaluated = inference_mode(model)
        assert evaluated.layers[1].inference and not model.layers[1].inference
        assert jnp.all(evaluated(jnp.ones(3)) == model.layers[0](jnp.ones(3)))
        ```
    """
    if not _nodes(pytree):
        return pytree
    return tree_at(
        lambda tree: [node.inference for node in _nodes(tree)],
        pytree,
        replace_fn=lambda _: value,
        is_leaf=lambda x: x is None,
    )


tree_inference = inference_mode
"""Another name of `inference_mode`."""
