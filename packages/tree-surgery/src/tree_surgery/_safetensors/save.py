"""`save` and `tree_fingerprint`: a tree in a safetensors file, its leaves by name.

The public signatures and their documents. How a file is written is decided in `writer.py`, its
header in `header_builder.py`, and how a leaf is encoded in `leaf_encoding.py`.
"""

from collections.abc import Mapping
from typing import Any

from tree_surgery._public import public
from tree_surgery._types import ToWrite

from .fingerprint import fingerprint_of_tree
from .writer import write_tree


@public
def save(path_or_file: ToWrite, tree: object, metadata: Mapping[str, Any] | None = None) -> None:
    """All arrays and numbers of a tree are in the file under their names, exactly as they are.

    The format is [safetensors](https://huggingface.co/docs/safetensors), which many programs read.
    The names are dotted paths (`layers.0.weight`). A file has a version, a fingerprint of the tree,
    and checksums. It is written one leaf at a time, under another name in the same folder, synced
    to the disk and then renamed: if anything fails, or the process is killed, the file that was
    there before is still there, whole.

    Where arrays are spread over several processes of a job of `jax.distributed`, all of them call
    `save`. They gather one leaf after the other, process 0 writes the file, which must be a path,
    and all return once it is whole.

    **Arguments:**

    - `path_or_file`: a string or any `os.PathLike`, to which `.safetensors` is appended if it has
        no suffix, or a binary file object to write to from where it stands, such as one of `gzip`.
    - `tree`: a PyTree. Saved are arrays of JAX (of any dtype, typed PRNG keys, also spread over
        several devices) and of NumPy, NumPy's scalars, Python's numbers, and leaves that write
        themselves ([`tree_surgery.SerialisableLeaf`][]). Other leaves, such as functions, are not.
    - `metadata`: what else to keep, such as hyper-parameters: a dictionary of strings, numbers,
        booleans, `None`, and lists and dictionaries of them. (Tuples become lists.)
        [`tree_surgery.peek`][] reads it again.

    **Raises:**

    `SerialiseError`, naming the path of the leaf in the tree, if a leaf cannot be written, or if
    metadata cannot be kept; `OSError` if the file cannot be written, and `SerialiseError` in the
    other processes of a job.

    ```python
    import tempfile
    import jax
    import jax.numpy as jnp
    import tree_surgery as ts

    model = {"layers": [{"weight": jnp.ones((3, 4), "bfloat16")}], "key": jax.random.key(0)}
    with tempfile.TemporaryDirectory() as folder:
        ts.save(f"{folder}/model", model, metadata={"width": 4})  # makes `model.safetensors`
        info = ts.peek(f"{folder}/model")
        assert info.metadata == {"width": 4} and info.leaves["layers.0.weight"].shape == (3, 4)
        again = ts.load(f"{folder}/model", jax.eval_shape(lambda: model))
    assert ts.tree_equal(again, model)
    ```
    """
    write_tree(path_or_file, tree, metadata)


@public
def tree_fingerprint(tree: object) -> str:
    """Two trees have the same fingerprint if the one can be loaded into the other.

    It depends on what [`tree_surgery.save`][] would save: names, shapes, dtypes and kinds of
    leaves, but not on their values, nor on their order or on static fields.

    **Arguments:**

    - `tree`: a PyTree, in which `jax.ShapeDtypeStruct`s may stand for arrays.

    **Returns:**

    A string of 64 hexadecimal digits. That of a file is `peek(path).fingerprint`.

    ```python
    import jax
    import jax.numpy as jnp
    from tree_surgery import tree_fingerprint

    tree = {"w": jnp.ones((2, 3)), "n": 1}
    assert tree_fingerprint(tree) == tree_fingerprint({"n": 2, "w": jnp.zeros((2, 3))})
    assert tree_fingerprint(tree) != tree_fingerprint({"n": 1, "w": jnp.ones((2, 4))})
    ```
    """
    return fingerprint_of_tree(tree)
