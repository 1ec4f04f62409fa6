"""`tree_serialise_leaves`, `tree_deserialise_leaves`: the leaves of a tree in a file, in order.

Here is decided that a file is the records of the leaves one after the other, without a header and
without names, as in Equinox. What the record of a leaf is, is decided in `leaf_specs.py`.
"""

from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn, TypeAlias

import jax.tree_util as jtu
import numpy as np

from tree_surgery._errors import SerialiseError
from tree_surgery._jax import PyTreeDef
from tree_surgery._nodes.key_paths import leaf_paths
from tree_surgery._nodes.leaf_info import is_jax
from tree_surgery._public import public
from tree_surgery._streams.open_stream import open_stream
from tree_surgery._types import ToRead, ToWrite, Tree

from .leaf_specs import default_deserialise_filter_spec, default_serialise_filter_spec

_IsLeaf: TypeAlias = Callable[[Any], bool] | None
# A function, whose parameters type checkers then know in a lambda; or any tree of such functions.
_Writes: TypeAlias = Callable[[BinaryIO, Any], object] | object
_Reads: TypeAlias = Callable[[BinaryIO, Any], Any] | object


@public
def tree_serialise_leaves(
    path_or_file: ToWrite,
    pytree: object,
    filter_spec: _Writes = default_serialise_filter_spec,
    is_leaf: _IsLeaf = None,
) -> None:
    """The leaves of a tree are written to a file, one after the other, and nothing else is.

    The format is that of Equinox 0.13.8 (each array as a NumPy record): it reads these files, and
    its files are read by [`tree_surgery.tree_deserialise_leaves`][]. Typed PRNG keys and integers
    beyond 64 bits, which it cannot load, are records too, in a form of our own.

    A file is written under another name in the same folder, synced to the disk and then renamed: if
    anything fails, or the process is killed, the file that was there before is still there, whole.

    **Arguments:**

    - `path_or_file`: a string or any `os.PathLike`, to which `.eqx` is appended if it has no
        suffix, or a binary file object to write to from where it stands.
    - `pytree`: the tree.
    - `filter_spec`: a function `(file, leaf) -> None` that writes a leaf, or a tree of such
        functions of which the structure is a prefix of that of `pytree`.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`.

    **Raises:**

    `SerialiseError`, naming the path of the leaf in the tree, if a leaf cannot be written;
    `OSError` if the file cannot.

    ```python
    import tempfile
    import jax
    import jax.numpy as jnp
    from tree_surgery import tree_deserialise_leaves, tree_serialise_leaves

    tree = {"weight": jnp.ones((3, 4), "bfloat16"), "key": jax.random.key(0), "steps": 7}
    with tempfile.TemporaryDirectory() as folder:
        tree_serialise_leaves(f"{folder}/model", tree)  # makes `model.eqx`
        like = jax.eval_shape(lambda: tree) | {"steps": 0}
        again = tree_deserialise_leaves(f"{folder}/model", like)
    assert again["steps"] == 7 and again["weight"].dtype == "bfloat16"
    ```
    """
    leaves, specs, _ = _leaves_and_specs(filter_spec, pytree, is_leaf)
    with open_stream(path_or_file, ".eqx", write=True) as (file, _):
        index = 0
        try:
            for index, spec in enumerate(specs):
                spec(file, leaves[index])
        except Exception as error:
            _raise_named(error, leaf_paths(pytree, is_leaf)[index])


@public
def tree_deserialise_leaves(
    path_or_file: ToRead,
    like: Tree,
    filter_spec: _Reads = default_deserialise_filter_spec,
    is_leaf: _IsLeaf = None,
) -> Tree:
    """The tree that was saved is read back into the structure of `like`, exactly as it was.

    **Arguments:**

    - `path_or_file`: as for [`tree_surgery.tree_serialise_leaves`][]. A file at a path must end
        with the last leaf; a file object is left standing behind it, so that several trees can
        follow each other in one stream.
    - `like`: a tree of the same structure, with leaves of the same types, shapes and dtypes.
        `jax.ShapeDtypeStruct`s may stand for arrays, as from `jax.eval_shape`. Leaves that are
        not saved, such as functions, are taken from here.
    - `filter_spec`: a function `(file, leaf of like) -> leaf` that reads a leaf, or a tree of such
        functions of which the structure is a prefix of that of `like`.
    - `is_leaf`: as for `jax.tree_util.tree_flatten`.

    **Returns:**

    A new tree; `like` is left as it is.

    **Raises:**

    `SerialiseError`, naming the path of the leaf in the tree and both shapes and dtypes, if the
    file does not fit, or is cut short, damaged or foreign. Nothing is ever unpickled. A file object
    that can seek is put back to where it stood.
    """
    leaves, specs, treedef = _leaves_and_specs(filter_spec, like, is_leaf)
    new: list[Any] = []
    with open_stream(path_or_file, ".eqx", write=False) as (file, ours):
        index = 0
        try:
            for index, spec in enumerate(specs):
                new.append(spec(file, leaves[index]))
                # The default has compared the leaf already, before it read the data.
                if spec is not default_deserialise_filter_spec:
                    _check_like(new[-1], leaves[index])
        except Exception as error:
            _raise_named(error, leaf_paths(like, is_leaf)[index])
        if ours and file.read(1):
            raise SerialiseError(
                f"The file goes on after the last of the {len(leaves)} leaves of `like`. It holds "
                "another tree, with more leaves, or is damaged."
            )
    return treedef.unflatten(new)


def _leaves_and_specs(
    filter_spec: Any, pytree: Any, is_leaf: _IsLeaf
) -> tuple[list[Any], list[Callable[..., Any]], PyTreeDef]:
    """The leaves, the function that writes or reads each of them, and the treedef."""
    leaves, treedef = jtu.tree_flatten(pytree, is_leaf)
    if jtu.all_leaves([filter_spec]) and callable(filter_spec):
        return leaves, [filter_spec] * len(leaves), treedef
    functions, prefix = jtu.tree_flatten(filter_spec)
    try:
        subtrees = prefix.flatten_up_to(pytree)
    except ValueError as error:
        raise ValueError(
            "The structure of `filter_spec` must be that of the tree, or a prefix of it in which a "
            f"function stands for a whole subtree: {error}."
        ) from error
    specs: list[Callable[..., Any]] = []
    for index, (function, subtree) in enumerate(zip(functions, subtrees, strict=True)):
        if not callable(function):
            raise ValueError(
                "`filter_spec` must be a function of a file and a leaf, or a tree of them, but at "
                f"`{leaf_paths(filter_spec)[index]}` it is {function!r}."
            )
        specs.extend([function] * len(jtu.tree_leaves(subtree, is_leaf=is_leaf)))
    return leaves, specs, treedef


def _raise_named(error: Exception, path: str) -> NoReturn:
    """Raise an error that names the leaf. An error of the file system keeps its type."""
    if isinstance(error, SerialiseError):
        raise error.at(path) from error.__cause__
    if isinstance(error, OSError):
        error.add_note(f"At leaf `{path}`.")
        raise error
    message = f"Leaf `{path}`: `filter_spec` failed with {type(error).__name__}: {error}"
    raise SerialiseError(message, path=path) from error


def _check_like(new: Any, like: Any) -> None:
    """Raise if a leaf that the user's function returned is of another kind than that of `like`."""
    expected, found = _kind(like), _kind(new)
    if expected != found:
        raise SerialiseError(
            f"`like` has a {expected}, but `filter_spec` returned a {found}.",
            expected=expected,
            found=found,
        )


def _kind(x: Any) -> str:
    if is_jax(x):
        return f"JAX array of shape {x.shape} and dtype {x.dtype}"
    if isinstance(x, np.ndarray | np.generic):
        kind = "array" if isinstance(x, np.ndarray) else "scalar"
        return f"NumPy {kind} of shape {x.shape} and dtype {x.dtype}"
    return f"`{type(x).__module__}.{type(x).__qualname__}`"
