"""`Shared`: one parameter in several places of a model."""

from collections.abc import Callable
from typing import Any, Generic

import jax
import jax.tree_util as jtu

from filtered_transforms import filter_eval_shape
from nn_layers._types import Tree_co
from pytree_module import Module
from tree_surgery import tree_at, tree_pformat
from tree_surgery.extend import public


class SharedNode:
    """The leaf that stands where `Shared` took a node out. All are equal, and without a value."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SharedNode)

    def __hash__(self) -> int:
        return hash(SharedNode)

    def __repr__(self) -> str:
        return "SharedNode"


def _signature(tree: Any) -> Any:
    """Structure, and the shape and dtype of each leaf, or the leaf itself if it is not an array."""
    leaves, treedef = jtu.tree_flatten(tree)
    # `filter_eval_shape` gives structs for the arrays.
    return treedef, [
        (x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else (type(x), x) for x in leaves
    ]


@public
class Shared(Module, Generic[Tree_co]):
    """Keeps nodes of a tree that are one parameter in one place only.

    A tree with the same layer in two places has two copies of it, which drift apart in training.
    Here the nodes at `where` are taken out, and a call puts what `get` returns in their place.

    `tree_surgery.tie` does the same by paths, for any number of ties, and needs no wrapper.

    **Arguments:**

    - `pytree`: the tree, such as a tuple of layers.
    - `where`: a function of the tree that returns the node or nodes to take out, as for `tree_at`.
    - `get`: a function of the tree that returns what is put there, of the same structure, shapes
        and dtypes. It may compute: `lambda pair: pair[0].weight.T`.

    Use functions that live on (not a new lambda each time) where two such trees are to be equal.

    **Raises:** `ValueError` if what `get` returns does not fit.

    !!! example

        ```python
        import jax
        import jax.numpy as jnp
        from nn_layers import Embedding, Linear, Shared

        key1, key2 = jax.random.split(jax.random.key(0))
        embedding, readout = Embedding(5, 3, key=key1), Linear(3, 5, key=key2)
        shared = Shared(
            (embedding, readout), where=lambda pair: pair[1].weight, get=lambda pair: pair[0].weight
        )
        embedding, readout = shared()
        assert readout.weight is embedding.weight
        assert len([x for x in jax.tree.leaves(shared) if isinstance(x, jax.Array)]) == 2
        ```
    """

    pytree: Tree_co
    where: Callable[[Any], Any]
    get: Callable[[Any], Any]

    def __init__(
        self, pytree: Tree_co, where: Callable[[Tree_co], Any], get: Callable[[Tree_co], Any]
    ):
        expected, given = (filter_eval_shape(f, pytree) for f in (where, get))
        if _signature(expected) != _signature(given):
            raise ValueError(
                f"`Shared`: what `get` returns must be like what it replaces, in structure, shapes "
                f"and dtypes. `where` returned\n{tree_pformat(expected)}\nand `get` returned\n"
                f"{tree_pformat(given)}"
            )
        self.pytree = tree_at(where, pytree, replace_fn=lambda _: SharedNode())
        self.where = where
        self.get = get

    def __call__(self) -> Tree_co:
        """**Returns:** the tree, with what `get` returns at `where`."""
        return tree_at(self.where, self.pytree, self.get(self.pytree))
