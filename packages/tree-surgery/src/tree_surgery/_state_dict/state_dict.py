"""`to_state_dict` and `from_state_dict`: flat dictionaries of arrays by dotted path.

The public signatures and their documents. The steps of a conversion are put in order in
`convert.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from tree_surgery._load_report import LoadReport
from tree_surgery._public import public
from tree_surgery._safetensors.fit_leaves import CastTo
from tree_surgery._safetensors.rename import Rename
from tree_surgery._types import Tree

from .convert import from_dictionary, to_dictionary
from .layout_rules import LayoutRules, Transpose


@public
def to_state_dict(
    tree: object,
    rename: Rename | None = None,
    *,
    transpose: Transpose | None = None,
    split: Sequence[str] | str = (),
    join: Sequence[str] | str = (),
) -> dict[str, Any]:
    """Every array and number of a tree is in a flat dictionary, under its dotted path.

    **Arguments:**

    - `tree`: a PyTree.
    - `rename`: what a leaf is called in the dictionary, as for [`tree_surgery.load`][].
    - `transpose`: a dictionary from paths, in which `*` and `**` may stand for steps, to the axes
        of `numpy.transpose`, or to any function of an array, such as
        `lambda x: x[:, None]`. The first rule that fits the whole path counts, and a rule that
        fits none is an error (not so with `strict=False`).
    - `split`: paths of stacked layers (see [`tree_surgery.tree_stack`][]): what is at
        `layers.weight` with the layers along the first axis is at `layers.0.weight`,
        `layers.1.weight`, ...
    - `join`: the reverse: paths of lists of layers, which are stacked along a new first axis.

    The steps come in this order: split, transpose, join, rename. All paths but those that `rename`
    makes are those of the tree.

    **Returns:**

    A dictionary. Arrays are NumPy's (`torch.from_numpy` takes them), typed PRNG keys arrays of JAX,
    and numbers Python's. Leaves that would not be saved are left out.

    **Raises:**

    `SerialiseError` if an array has no values, if layers cannot be split or joined, or if two names
    become the same.

    ```python
    import jax.numpy as jnp
    from tree_surgery import to_state_dict

    model = {"blocks": {"w": jnp.arange(6.0).reshape(2, 3)}, "out": {"kernel": jnp.ones((3, 5))}}
    state_dict = to_state_dict(
        model, split="blocks", transpose={"out.kernel": (1, 0)}, rename={"**.kernel": "**.weight"}
    )
    assert {name: x.shape for name, x in state_dict.items()} == {
        "blocks.0.w": (3,), "blocks.1.w": (3,), "out.weight": (5, 3)
    }
    ```
    """
    return to_dictionary(tree, rename, LayoutRules(split, transpose, join))


@overload
def from_state_dict(
    state_dict: Mapping[str, Any],
    like: Tree,
    rename: Rename | None = None,
    *,
    transpose: Transpose | None = None,
    split: Sequence[str] | str = (),
    join: Sequence[str] | str = (),
    dtype: CastTo = None,
    strict: Literal[True] = True,
) -> Tree: ...
@overload
def from_state_dict(
    state_dict: Mapping[str, Any],
    like: Tree,
    rename: Rename | None = None,
    *,
    transpose: Transpose | None = None,
    split: Sequence[str] | str = (),
    join: Sequence[str] | str = (),
    dtype: CastTo = None,
    strict: Literal[False],
) -> tuple[Tree, LoadReport]: ...
@overload
def from_state_dict(
    state_dict: Mapping[str, Any],
    like: Tree,
    rename: Rename | None = None,
    *,
    transpose: Transpose | None = None,
    split: Sequence[str] | str = (),
    join: Sequence[str] | str = (),
    dtype: CastTo = None,
    strict: bool = True,
) -> Tree | tuple[Tree, LoadReport]: ...
@public
def from_state_dict(
    state_dict: Mapping[str, Any],
    like: Tree,
    rename: Rename | None = None,
    *,
    transpose: Transpose | None = None,
    split: Sequence[str] | str = (),
    join: Sequence[str] | str = (),
    dtype: CastTo = None,
    strict: bool = True,
) -> Tree | tuple[Tree, LoadReport]:
    """The tree with each leaf taken from a flat dictionary, where it is under its dotted path.

    **Arguments:**

    - `state_dict`: a dictionary of arrays of NumPy or JAX, or tensors of PyTorch (which is not
        imported); as from [`tree_surgery.to_state_dict`][], [`tree_surgery.load_state_dict`][] or
        the `state_dict()` of a PyTorch module. The arrays are copied.
    - `like`: as for [`tree_surgery.load`][].
    - `rename`: what an entry is called in the tree, as for [`tree_surgery.load`][].
    - `transpose`, `split`, `join`: as for [`tree_surgery.to_state_dict`][], by the paths that
        `rename` gives. `join` stacks `layers.0.weight`, `layers.1.weight`, ... for a tree that has
        all layers in one; `split` is for a tree with a list of layers and a dictionary that has
        them in one.
    - `dtype`, `strict`: as for [`tree_surgery.load`][].

    The steps come in this order: rename, split, transpose, join, cast.

    **Returns:**

    A new tree; with `strict=False`, a tuple of it and a [`tree_surgery.LoadReport`][].

    **Raises:**

    `SerialiseError` that lists all paths that are missing, unexpected or mismatched, with shapes
    and dtypes; or if layers cannot be split or joined.

    ```python
    import numpy as np
    import jax.numpy as jnp
    from tree_surgery import from_state_dict

    state_dict = {f"encoder.layer.{i}.weight": np.full((4, 3), float(i)) for i in range(2)}
    like = {"layers": {"w": jnp.zeros((2, 3, 4))}}
    tree = from_state_dict(
        state_dict,
        like,
        rename={"encoder.layer.*.weight": "layers.*.w"},
        transpose={"layers.*.w": (1, 0)},
        join="layers",
        dtype="like",
    )
    assert tree["layers"]["w"][1].tolist() == [[1.0] * 4] * 3
    ```
    """
    layout = LayoutRules(split, transpose, join)
    return from_dictionary(state_dict, like, rename, layout, dtype, strict)
