"""`load` and `load_state_dict`: the leaves of a safetensors file, in a tree or in a dictionary.

The public signatures and their documents. How a file is read is decided in `reader.py`, and which
of its leaves fit a tree in `fit_leaves.py`.
"""

from typing import Any, Literal, overload

from tree_surgery._load_report import LoadReport
from tree_surgery._public import public
from tree_surgery._types import ToRead, Tree

from .fit_leaves import CastTo
from .reader import read_dictionary, read_tree
from .rename import Rename


@overload
def load(
    path_or_file: ToRead,
    like: Tree,
    strict: Literal[True] = True,
    rename: Rename | None = None,
    dtype: CastTo = None,
) -> Tree: ...
@overload
def load(
    path_or_file: ToRead,
    like: Tree,
    strict: Literal[False],
    rename: Rename | None = None,
    dtype: CastTo = None,
) -> tuple[Tree, LoadReport]: ...
@overload
def load(
    path_or_file: ToRead,
    like: Tree,
    strict: bool = True,
    rename: Rename | None = None,
    dtype: CastTo = None,
) -> Tree | tuple[Tree, LoadReport]: ...
@public
def load(
    path_or_file: ToRead,
    like: Tree,
    strict: bool = True,
    rename: Rename | None = None,
    dtype: CastTo = None,
) -> Tree | tuple[Tree, LoadReport]:
    """The tree that was saved is read into the structure of `like`, leaf by leaf by their names.

    Files of [`tree_surgery.save`][] are read, and any safetensors file, in which all names are
    taken for dotted paths. The order of fields does not matter, nor does what is static or frozen.

    **Arguments:**

    - `path_or_file`: as for [`tree_surgery.save`][]. A file at a path must end with its last leaf;
        a file object is left standing behind it, so that several trees can follow each other.
    - `like`: a tree of the same structure, with leaves of the same types, shapes and dtypes.
        `jax.ShapeDtypeStruct`s may stand for arrays, as from `jax.eval_shape`. Where these have a
        sharding, or an array was put somewhere, the new array is put, each part to its device. A
        sharding over an abstract mesh needs `jax.set_mesh`. Leaves that are not saved are taken
        from here.
    - `strict`: whether everything must fit. If not, what does not is taken from `like`.
    - `rename`: what a leaf of the file is called in `like`: a function from name to name, or a
        dictionary, of which a key stands for the name and all that begin with it and go on with a
        dot. `*` in a key is one step of a path and `**` are several, and the same signs in the
        value are filled with them: `{"block.*.attn": "layers.*.attention"}`. `None` leaves out.
    - `dtype`: a dtype to which arrays of its kind are cast (floating, say); or `"like"`, for the
        dtypes of `like`, where these are of the same kind. Shapes must always match.

    **Returns:**

    A new tree; `like` is left as it is. With `strict=False`, a tuple of the tree and a
    [`tree_surgery.LoadReport`][].

    **Raises:**

    `SerialiseError` that lists all paths that are missing, unexpected or mismatched, with shapes
    and dtypes, and has them as its `report`; or that says how the file is damaged, cut short,
    foreign or too new. Nothing is ever unpickled, and no tree is returned before all of the file
    was checked.

    ```python
    import io
    import jax.numpy as jnp
    import tree_surgery as ts

    file = io.BytesIO()
    ts.save(file, {"encoder": {"w": jnp.ones(3)}, "steps": 7})
    file.seek(0)
    like = {"body": {"w": jnp.zeros(3, "bfloat16")}, "head": jnp.zeros(2)}
    rules = {"encoder": "body", "steps": None}
    tree, report = ts.load(file, like, strict=False, rename=rules, dtype="like")
    assert tree["body"]["w"].tolist() == [1, 1, 1] and report.missing == ["head"]
    ```
    """
    return read_tree(path_or_file, like, strict, rename, dtype)


@public
def load_state_dict(path_or_file: ToRead) -> dict[str, Any]:
    """All leaves of a safetensors file are in a dictionary by name, as they are there.

    **Arguments:**

    - `path_or_file`: as for [`tree_surgery.load`][]; a file of [`tree_surgery.save`][], or one that
        another program wrote.

    **Returns:**

    A dictionary of NumPy arrays, for [`tree_surgery.from_state_dict`][]. Typed PRNG keys are arrays
    of JAX, and Python's numbers are what they are.

    **Raises:**

    `SerialiseError` if the file is damaged, cut short, foreign, too new, or has arrays of a dtype
    that is not known here.

    ```python
    import io
    import jax.numpy as jnp
    import tree_surgery as ts

    file = io.BytesIO()
    ts.save(file, {"layers": [{"w": jnp.ones(3)}], "rate": 0.5})
    file.seek(0)
    state_dict = ts.load_state_dict(file)
    assert state_dict["layers.0.w"].tolist() == [1.0, 1.0, 1.0] and state_dict["rate"] == 0.5
    ```
    """
    return read_dictionary(path_or_file)
