"""`tie`, `untie` and `find_shared`: one weight that is used in several places of a tree.

JAX makes two arrays of one that is in a tree twice. So the second place holds a `Tied`, a node
without leaves, until `untie` puts the array there.
"""

import dataclasses as dc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import jax
import jax.tree_util as jtu
import numpy as np

from tree_surgery._edit.by_selector import replace_nodes
from tree_surgery._errors import WhereError
from tree_surgery._nodes.arrays import is_array_or_struct
from tree_surgery._nodes.located_node import LocatedNode
from tree_surgery._public import public
from tree_surgery._select.selectors import SelectorLike, find_nodes
from tree_surgery._show.pformat import tree_pformat
from tree_surgery._types import Tree

_HINT = (
    "It holds nothing itself. Where the tree is used, as in a loss function, begin with "
    "`model = tree_surgery.untie(model)`."
)


@public
@jtu.register_static
@dc.dataclass(frozen=True)
class Tied:
    """What stands in a place that is tied to another. See [`tree_surgery.tie`][].

    - `to`: the path of that other index, from the root of the tree.

    ```python
    from tree_surgery import Tied, tie, tree_select

    model = tie({"embed": [1.0], "head": [2.0]}, [("head", "embed")])
    assert model == {"embed": [1.0], "head": Tied("['embed']")}
    ```
    """

    to: str

    if not TYPE_CHECKING:  # type checkers report arithmetic with it, since they see no operators

        def _refuse(self, *_: object) -> NoReturn:
            raise TypeError(f"This is tied to `{self.to}`. {_HINT}")

        __jax_array__ = __getitem__ = __neg__ = __add__ = __radd__ = __sub__ = __rsub__ = _refuse
        __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __matmul__ = __rmatmul__ = (
            _refuse
        )

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"`Tied` has no `{name}`. {_HINT}", name=name, obj=self)


@public
def tie(tree: Tree, pairs: Sequence[tuple[SelectorLike, SelectorLike]]) -> Tree:
    """Each `dst` is from now on what is at its `src`: there is one set of weights, in one place.

    In place of each `dst` there is a [`tree_surgery.Tied`][], a node without leaves. So `jax.jit`,
    `jax.lax.scan`, optimisers and files have the weights once, and they cannot come apart.
    [`tree_surgery.untie`][] puts them where they are used; gradients of all uses add up.

    **Arguments:**

    - `tree`: a PyTree.
    - `pairs`: any number of pairs `(dst, src)` of selectors (see [`tree_surgery.where`][]). A `src`
        selects one node, a `dst` one or several, of the same structure, shapes and dtypes; the
        values at `dst` are given up.

    **Returns:**

    A new tree.

    **Raises:**

    `WhereError` if a pattern matches nothing, if a `src` is not one node, if a `dst` does not fit
    its `src`, or if something would be tied twice, to itself, or to what is tied itself.

    ```python
    import jax
    import jax.numpy as jnp
    from tree_surgery import tie, untie

    model = {"embed": jnp.ones((5, 2)), "head": jnp.zeros((5, 2))}
    model = tie(model, [("head", "embed")])
    assert len(jax.tree.leaves(model)) == 1

    def loss(model):
        model = untie(model)
        return jnp.sum(model["embed"]) + jnp.sum(2 * model["head"])

    assert jax.grad(loss)(model)["embed"][0].tolist() == [3.0, 3.0]
    ```
    """
    sources: list[LocatedNode] = []
    changes: dict[tuple[int, ...], tuple[LocatedNode, Tied]] = {}
    for dst, src in map(_check_pair, pairs):
        chosen = find_nodes(src, tree)
        if len(chosen) != 1:
            raise WhereError(
                f"`tie` needs one node to tie `{dst}` to, but `{src}` selects {len(chosen)}.", src
            )
        (source,) = chosen
        sources.append(source)
        for node in find_nodes(dst, tree):
            _check_same_structure(node, source)
            if node.index in changes:
                raise WhereError(f"`tie` was told twice what to tie `{node.path}` to.", dst)
            changes[node.index] = (node, Tied(source.path))
    for node, tied in changes.values():
        for source in (*sources, *(other for other, _ in changes.values() if other is not node)):
            if _overlap(node, source):
                raise WhereError(
                    f"`tie` cannot tie `{node.path}` to `{tied.to}`, since `{source.path}` has a "
                    "part in this tie or another, and one of them is within the other. What others "
                    "are tied to must stay where it is: tie all of them to that."
                )
    return replace_nodes(tree, {index: tied for index, (_, tied) in changes.items()})


def _check_pair(pair: Any) -> tuple[Any, Any]:
    """The pair itself. **Raises:** `WhereError` if it is no pair."""
    if not isinstance(pair, tuple | list) or len(cast(Sequence[Any], pair)) != 2:
        raise WhereError(
            f"`tie` takes a sequence of pairs `(dst, src)`, in which `{pair!r}` is none. Of one "
            "pair it is `tie(tree, [(dst, src)])`.",
            pair,
        )
    return cast(Any, tuple(cast(Sequence[Any], pair)))


@public
def untie(tree: Tree) -> Tree:
    """Everything that is tied is where it is used: each `dst` is the very object at its `src`.

    **Arguments:**

    - `tree`: a PyTree. If nothing in it is tied, it comes back as it is.

    **Returns:**

    A new tree, without [`tree_surgery.Tied`][].

    **Raises:**

    `WhereError` if this is only a part of the tree that was tied, and what something is tied to is
    not in it.

    ```python
    from tree_surgery import tie, untie

    model = {"embed": [1.0], "head": [2.0]}
    assert untie(tie(model, [("head", "embed")])) == {"embed": [1.0], "head": [1.0]}
    ```
    """
    nodes, treedef = jtu.tree_flatten(tree, is_leaf=_is_tied)
    sources: dict[str, Any] = {}
    for tied in (x for x in nodes if _is_tied(x)):
        if tied.to not in sources:
            try:
                (node,) = find_nodes(tied.to, tree)
            except WhereError as error:
                raise WhereError(
                    f"This tree has something that is tied to `{tied.to}`, which is not in it. "
                    "Call `untie` on the whole tree that was tied, before parts of it are used."
                ) from error
            sources[tied.to] = node.value
    return treedef.unflatten(_copy(sources[x.to]) if _is_tied(x) else x for x in nodes)


@public
def find_shared(tree: object) -> list[list[str]]:
    """The places of each array that is in several places of a tree.

    JAX makes several arrays of it as soon as the tree is an argument of a compiled function or an
    optimiser. To have it stay one, see [`tree_surgery.tie`][].

    **Arguments:**

    - `tree`: a PyTree.

    **Returns:**

    For each array of JAX or NumPy that is one object in several places, the list of their paths.

    ```python
    import jax.numpy as jnp
    from tree_surgery import find_shared

    weight = jnp.ones(3)
    tree = {"embed": weight, "head": [weight, jnp.ones(3)]}
    assert find_shared(tree) == [["['embed']", "['head'][0]"]]
    ```
    """
    places: dict[int, list[str]] = {}
    for node in LocatedNode(tree).walk():
        if node.is_leaf and isinstance(node.value, jax.Array | np.ndarray):
            places.setdefault(id(node.value), []).append(node.path)
    return [paths for paths in places.values() if len(paths) > 1]


def _is_tied(x: Any) -> bool:
    return type(x) is Tied


def _copy(node: Any) -> Any:
    """The node with the same leaves in new containers, since trees share no containers."""
    leaves, treedef = jtu.tree_flatten(node)
    return treedef.unflatten(leaves)


def _overlap(a: LocatedNode, b: LocatedNode) -> bool:
    """Whether one of two nodes lies within the other, or both are the same."""
    n = min(len(a.index), len(b.index))
    return a.index[:n] == b.index[:n]


def _check_same_structure(node: LocatedNode, source: LocatedNode) -> None:
    leaves, treedef = jtu.tree_flatten(node.value)
    others, other_def = jtu.tree_flatten(source.value)
    fits = treedef == other_def and all(map(_same_shape_and_dtype, leaves, others))
    if not fits:
        raise WhereError(
            f"`tie` cannot tie `{node.path}` to `{source.path}`: {_quoted(node.value)} is not of "
            f"the same structure, shapes and dtypes as {_quoted(source.value)}.",
            node.value,
        )


def _same_shape_and_dtype(x: Any, y: Any) -> bool:
    if is_array_or_struct(x) and is_array_or_struct(y):
        return x.shape == y.shape and x.dtype == y.dtype
    return type(x) is type(y)


def _quoted(x: Any) -> str:
    return f"`{tree_pformat(x, width=1000)}`"
