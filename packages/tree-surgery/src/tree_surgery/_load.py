"""`load`: the leaves of a safetensors file, by name, in a tree."""

import io
from collections.abc import Mapping
from typing import IO, Any

from ._errors import SerialiseError
from ._keys import to_keys
from ._names import name_leaves
from ._notes import crc_text
from ._open import PathOrFile, open_stream
from ._peek import Content, read_content
from ._rename import Rename, rename_all
from ._report import Take, match, raise_report
from ._save import SUFFIX
from ._stored import Found, to_array
from ._streams import Buffer, Checksums, checksums, empty
from ._what import OWN


def load(
    path_or_file: PathOrFile,
    like: Any,
    strict: bool = True,
    rename: Rename | None = None,
    dtype: Any = None,
) -> Any:
    """The tree that was saved is read into the structure of `like`, leaf by leaf by their names.

    Files of [`tree_surgery.save`][] are read, and any safetensors file, in which all names are
    taken for dotted paths. The order of fields does not matter, nor does what is static or frozen.

    **Arguments:**

    - `path_or_file`: as for [`tree_surgery.save`][]. A file at a path must end with its last leaf;
        a file object is left standing behind it, so that several trees can follow each other.
    - `like`: a tree of the same structure, with leaves of the same types, shapes and dtypes.
        `jax.ShapeDtypeStruct`s may stand for arrays, as from `jax.eval_shape`; if they have a
        sharding, that is where the arrays are put. Leaves that are not saved are taken from here.
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
    named = name_leaves(like)
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksums() as sums:
        content = read_content(file, ours)
        there = content.found | content.numbers
        names = rename_all(there, rename)
        renamed = {new: there[old] for old, new in names.items() if new is not None}
        takes, report = match(named.leaves, renamed, dtype)
        if strict and report:
            raise_report(report, "The file", named.leaves)
        new = _read(file, content, names, named.leaves, takes, sums)
    tree = named.rebuild({**named.leaves, **new})
    return tree if strict else (tree, report)


def load_state_dict(path_or_file: PathOrFile) -> dict[str, Any]:
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
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours), checksums() as sums:
        content = read_content(file, ours)
        takes: dict[str, Take] = {}
        for name, found in content.found.items():
            if found.dtype is None:
                raise SerialiseError(
                    f"Leaf `{name}` is of dtype {found.what.dtype}. Upgrade tree-surgery, or load "
                    "what fits a tree by `load(..., strict=False)`.",
                    path=name,
                )
            takes[name] = _as_it_is(found)
        same = {name: name for name in (*content.found, *content.numbers)}
        return _read(file, content, same, {}, takes, sums) | content.numbers


def _as_it_is(found: Found) -> Take:
    if "key" in found.note:
        return lambda words: to_keys(words, found.note["key"], None)
    return lambda array: array


def _read(
    file: IO[bytes],
    content: Content,
    names: Mapping[str, str | None],
    leaves: Mapping[str, Any],
    takes: Mapping[str, Take],
    sums: Checksums,
) -> dict[str, Any]:
    """All data in the order in which they come; new leaves for those that are taken."""
    new: dict[str, Any] = {}
    for old, place in content.header.places.items():
        found, size, name = content.found[old], place.end - place.begin, names[old]
        take = None if name is None else takes.get(name)
        buffer: Buffer | None = None
        if take is None:
            checksum = sums.skip(file, size, f"leaf `{old}`")
        else:
            buffer = empty(size)
            checksum = sums.read(file, buffer.data, f"leaf `{old}`")
        if content.notes is not None and crc_text(checksum) != content.notes.checksums[old]:
            raise SerialiseError(
                f"The file is damaged: leaf `{old}` is not as it was saved (its checksum differs).",
                path=old,
            )
        if buffer is not None and name is not None and take is not None:
            new[name] = _leaf(name, buffer, found, take, leaves.get(name))
    for old, number in content.numbers.items():
        name = names[old]
        if name is not None and name in takes:
            new[name] = takes[name](number)
    return new


def _leaf(name: str, buffer: Buffer, found: Found, take: Take, like: Any) -> Any:
    if found.what.dtype != OWN or like is None:
        return take(to_array(buffer, found))
    content = io.BytesIO(buffer.data)
    try:
        new = like.__deserialise_leaf__(content)
    except SerialiseError as error:
        raise error.at(name) from error.__cause__
    if content.read(1):
        raise SerialiseError(
            f"Leaf `{name}`: its `__deserialise_leaf__` did not read all that was saved of it.",
            path=name,
        )
    return new
