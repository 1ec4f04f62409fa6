"""`freeze`, `unfreeze` and `trainable`: which leaves of a tree are not trained.

A frozen leaf is wrapped in the node `Frozen`, so that what is frozen is part of the treedef. A
program that was compiled for another choice of frozen leaves is never reused. `unfreeze` unwraps
the leaves and stops the gradient there; `trainable` is the mask for the optimiser.
"""

import dataclasses as dc
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from tree_surgery._edit.by_selector import replace_nodes
from tree_surgery._jax import Tracer
from tree_surgery._nodes.arrays import has_dtype, is_array_or_struct
from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._public import public
from tree_surgery._select.selectors import SelectorLike, find_nodes
from tree_surgery._types import Tree

_HINT = (
    "A frozen leaf cannot be used as it is. Where the tree is used, as in a loss function, begin "
    "with `model = tree_surgery.unfreeze(model)`."
)


@public
@jtu.register_dataclass
@dc.dataclass(frozen=True, eq=False)
class Frozen:
    """A leaf of a tree that is not trained. See [`tree_surgery.freeze`][].

    - `value`: the leaf.

    ```python
    from tree_surgery import Frozen, freeze, tree_select

    frozen = freeze({"a": 1.0, "b": 2.0}, "a")
    assert list(tree_select(frozen, Frozen)) == ["['a']"]
    assert frozen["a"].value == 1.0
    ```
    """

    value: Any

    if not TYPE_CHECKING:  # type checkers report arithmetic with it, since they see no operators

        def _refuse(self, *_: object) -> NoReturn:
            raise TypeError(_HINT)

        __jax_array__ = __getitem__ = __neg__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
        __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __matmul__ = __rmatmul__ = (
            _refuse
        )

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"`Frozen` has no `{name}`. {_HINT}", name=name, obj=self)


@public
def freeze(tree: Tree, where: SelectorLike) -> Tree:
    """Each number that is selected is frozen: no gradient, no update and no decay reaches it.

    The one spec of what is frozen is the tree itself. Its frozen leaves are in
    [`tree_surgery.Frozen`][], so that

    - `jax.jit` compiles anew if something else is frozen;
    - gradients stop where a loss function takes them out by [`tree_surgery.unfreeze`][];
    - [`tree_surgery.trainable`][] says to the optimiser which leaves there are to train;
    - what is saved is saved as without.

    **Arguments:**

    - `tree`: a PyTree.
    - `where`: a selector (see [`tree_surgery.where`][]). All arrays, and Python's `float`s and
        `complex`es, in what is selected are frozen; other leaves have nothing to freeze.

    **Returns:**

    A new tree. What is frozen already stays as it is.

    **Raises:**

    `WhereError` if a pattern matches nothing.

    ```python
    import jax
    import jax.numpy as jnp
    from tree_surgery import freeze, trainable, unfreeze

    model = {"encoder": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2)}}
    model = freeze(model, "encoder")
    assert trainable(model)["head"] == {"w": True}

    def loss(model, x):
        model = unfreeze(model)
        return jnp.sum(model["head"]["w"] * model["encoder"]["w"] * x)

    gradient = jax.grad(loss)(model, jnp.arange(2.0))
    assert gradient["head"]["w"].tolist() == [0.0, 1.0]
    assert gradient["encoder"]["w"].value.tolist() == [0.0, 0.0]
    ```

    With optax: `optax.masked(optax.adamw(1e-3), trainable(model))` decays what is trained only.
    """
    leaves = (
        leaf
        for node in find_nodes(where, tree)
        for leaf in node.walk()
        if leaf.is_leaf and not _lies_in_frozen(leaf) and _can_be_frozen(leaf.value)
    )
    return replace_nodes(tree, {leaf.index: Frozen(leaf.value) for leaf in leaves})


@public
def unfreeze(tree: Tree, where: SelectorLike | None = None) -> Tree:
    """The frozen leaves are what they were, and no gradient flows from them to the frozen tree.

    Within a function that is differentiated, this makes the tree usable and stops the gradient;
    outside, it undoes [`tree_surgery.freeze`][].

    **Arguments:**

    - `tree`: a PyTree. If nothing in it is frozen, it comes back as it is.
    - `where`: a selector (see [`tree_surgery.where`][]) of what to unfreeze; everything, without.

    **Returns:**

    A new tree.

    **Raises:**

    `WhereError` if a pattern matches nothing.

    ```python
    from tree_surgery import Frozen, freeze, tree_paths, unfreeze

    model = {"encoder": [1.0, 2.0], "head": [3.0]}
    frozen = freeze(model, "encoder")
    assert unfreeze(frozen) == model
    assert tree_paths(unfreeze(frozen, "encoder[1]"), Frozen) == ["['encoder'][0]"]
    ```
    """
    if where is None:
        return jtu.tree_map(_unwrap, tree, is_leaf=_is_frozen)
    nodes = {
        node.index: node
        for chosen in find_nodes(where, tree)
        for node in chosen.walk()
        if _is_frozen(node.value)
    }
    return replace_nodes(tree, {index: _unwrap(node.value) for index, node in nodes.items()})


@public
def trainable(tree: object) -> Any:
    """The tree with `True` for each floating or complex array that is not frozen, else `False`.

    **Arguments:**

    - `tree`: a PyTree, parts of which may be frozen by [`tree_surgery.freeze`][].

    **Returns:**

    A tree of the same structure, all of whose leaves are `bool`: for `optax.masked`, and for
    `partition` of the filtered transformations. Python's numbers are not trained: what is to be
    trained must be an array.

    ```python
    import jax.numpy as jnp
    from tree_surgery import freeze, trainable

    model = {"w": jnp.ones(2), "b": jnp.ones(1), "steps": jnp.array(0), "rate": 0.5}
    mask = trainable(freeze(model, "b"))
    assert mask["w"] is True and mask["b"].value is False
    assert mask["steps"] is False and mask["rate"] is False
    ```
    """

    def mask(x: Any) -> Any:
        return jtu.tree_map(lambda _: False, x) if _is_frozen(x) else is_trainable(x)

    return jtu.tree_map(mask, tree, is_leaf=_is_frozen)


def is_trainable(x: Any) -> bool:
    """Whether a leaf is an array or a struct of floating or complex dtype: it has a gradient."""
    return has_dtype(x, jnp.inexact)


def _can_be_frozen(x: Any) -> bool:
    return is_array_or_struct(x) or isinstance(x, float | complex)


def _is_frozen(x: Any) -> bool:
    return type(x) is Frozen


def _lies_in_frozen(node: LocatedNode) -> bool:
    return node.parent is not None and _is_frozen(node.parent.value)


def _unwrap(x: Any) -> Any:
    if not _is_frozen(x):
        return x
    # Only a traced value has a gradient to stop. Outside of a trace the same object comes back.
    return jax.lax.stop_gradient(x.value) if isinstance(x.value, Tracer) else x.value
