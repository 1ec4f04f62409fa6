"""`save`: a tree in a safetensors file, its leaves by name."""

from collections.abc import Mapping
from typing import IO, Any

from ._errors import SerialiseError
from ._header import Place, itemsize, render
from ._names import name_leaves
from ._notes import Notes, check_metadata, crc_text, fingerprint_of
from ._open import PathOrFile, open_stream
from ._stored import Item, number_to_note, store
from ._streams import Checksums, checksums
from ._what import LeafInfo, number_kind, what_is

SUFFIX = ".safetensors"


def save(path_or_file: PathOrFile, tree: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """All arrays and numbers of a tree are in the file under their names, exactly as they are.

    The format is [safetensors](https://huggingface.co/docs/safetensors), which many programs read.
    The names are dotted paths (`layers.0.weight`). A file has a version, a fingerprint of the tree,
    and checksums. It is written one leaf at a time, under another name in the same folder, synced
    to the disk and then renamed: if anything fails, or the process is killed, the file that was
    there before is still there, whole.

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
    metadata cannot be kept; `OSError` if the file cannot be written.

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
    kept = check_metadata(metadata)
    leaves = name_leaves(tree).leaves
    items = _items(leaves)
    places = _places(items)
    numbers = {n: number_to_note(x) for n, x in leaves.items() if number_kind(x) is not None}
    infos = {name: item.what for name, item in items.items()}
    infos |= {name: LeafInfo(f"Python {kind}") for name, (kind, *_) in numbers.items()}
    notes = Notes(
        fingerprint_of(infos),
        {name: item.note for name, item in items.items() if item.note},
        numbers,
        dict.fromkeys(items, crc_text(0)),
        kept,
    )
    with open_stream(path_or_file, SUFFIX, write=True) as (file, ours), checksums() as sums:
        if ours and file.seekable():
            file.write(render(places, notes.to_metadata(places)))
            _write(file, items, notes, sums)
            file.flush()
            file.seek(0)  # the checksums are known now, and as long as the zeros in their place
            file.write(render(places, notes.to_metadata(places)))
        else:
            # There may be no way back to the beginning of a stream: so the leaves are read twice.
            _write(None, items, notes, sums)
            file.write(render(places, notes.to_metadata(places)))
            _write(file, items, notes, sums)


def tree_fingerprint(tree: Any) -> str:
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
    leaves = name_leaves(tree).leaves
    infos: dict[str, LeafInfo | None] = {name: what_is(leaf) for name, leaf in leaves.items()}
    return fingerprint_of({name: info for name, info in infos.items() if info is not None})


def _items(leaves: Mapping[str, Any]) -> dict[str, Item]:
    """What is stored as an array, the largest elements first: so all are aligned."""
    items: dict[str, Item] = {}
    for name, leaf in leaves.items():
        try:
            item = store(leaf)
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        if item is not None:
            items[name] = item
    return dict(sorted(items.items(), key=lambda pair: -itemsize(pair[1].code)))


def _places(items: Mapping[str, Item]) -> dict[str, Place]:
    at = 0
    places: dict[str, Place] = {}
    for name, item in items.items():
        places[name] = Place(item.code, item.shape, at, at + item.size)
        at += item.size
    return places


def _write(
    file: IO[bytes] | None, items: Mapping[str, Item], notes: Notes, sums: Checksums
) -> None:
    """Write all data, in the order of their places, or only find their checksums."""
    for name, item in items.items():
        try:
            data = item.data()
            checksum = sums.of(data) if file is None else sums.write(file, data)
            del data  # it may be a copy, and the next is made before this name is used again
        except SerialiseError as error:
            raise error.at(name) from error.__cause__
        except OSError as error:
            error.add_note(f"At leaf `{name}`.")
            raise
        notes.checksums[name] = crc_text(checksum)
