"""`peek`, and what is known of a file before its data are read."""

import os
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from ._header import Header, read_header, refuse
from ._notes import Notes, fingerprint_of, read_notes
from ._open import PathOrFile, open_stream
from ._save import SUFFIX
from ._stored import Found, note_to_number, recall
from ._what import LeafInfo, what_is


class FileInfo(NamedTuple):
    """What is in a safetensors file. See [`tree_surgery.peek`][].

    - `metadata`: what was given to [`tree_surgery.save`][]; of files by others, a dictionary of
        strings.
    - `leaves`: for each path a [`tree_surgery.LeafInfo`][], its dtype and shape.
    - `fingerprint`: of the tree that was saved, as by [`tree_surgery.tree_fingerprint`][].
    - `version`: of our part of the format; `None` for files by others.

    ```python
    import io
    from tree_surgery import FileInfo, peek, save

    file = io.BytesIO()
    save(file, {"steps": 3}, metadata={"width": 4})
    file.seek(0)
    info = peek(file)
    assert isinstance(info, FileInfo) and info.metadata == {"width": 4} and info.version == 1
    ```
    """

    metadata: Mapping[str, Any]
    leaves: Mapping[str, LeafInfo]
    fingerprint: str
    version: int | None


def peek(path_or_file: PathOrFile) -> FileInfo:
    """What is in a file is known without reading its arrays: of gigabytes, some kilobytes are read.

    **Arguments:**

    - `path_or_file`: as for [`tree_surgery.load`][]. A file object that can seek is put back to
        where it stood, so that `load` can follow.

    **Returns:**

    A [`tree_surgery.FileInfo`][]: metadata (such as hyper-parameters, of which the model to load
    into is built), the leaves with dtypes and shapes, and the fingerprint of the tree.

    **Raises:**

    `SerialiseError` if the file is damaged, cut short, foreign, or of a newer version.

    ```python
    import tempfile
    import jax.numpy as jnp
    import tree_surgery as ts

    def build(width):
        return {"weight": jnp.zeros((width, width))}

    with tempfile.TemporaryDirectory() as folder:
        ts.save(f"{folder}/model", build(3), metadata={"width": 3})
        model = ts.load(f"{folder}/model", build(**ts.peek(f"{folder}/model").metadata))
    assert model["weight"].shape == (3, 3)
    ```
    """
    with open_stream(path_or_file, SUFFIX, write=False) as (file, ours):
        start = file.tell() if not ours and getattr(file, "seekable", bool)() else None
        content = read_content(file, ours)
        if start is not None:
            file.seek(start)
    metadata = content.header.metadata if content.notes is None else content.notes.metadata
    version = None if content.notes is None else content.notes.version
    return FileInfo(metadata, content.infos, fingerprint_of(content.infos), version)


class Content(NamedTuple):
    """A header, understood: arrays that are found in a file, and numbers."""

    header: Header
    notes: Notes | None
    found: dict[str, Found]
    numbers: dict[str, Any]

    @property
    def infos(self) -> dict[str, LeafInfo]:
        """Each name with what there is."""
        infos = {name: found.what for name, found in self.found.items()}
        return infos | {name: what_is(x) or LeafInfo("") for name, x in self.numbers.items()}


def read_content(file: IO[bytes], ours: bool) -> Content:
    """Read the header, and check everything in it."""
    header = read_header(file, _size(file) if ours else None)
    notes = read_notes(header)
    known = {} if notes is None else notes.leaves
    found = {n: recall(n, place, known.get(n, {})) for n, place in header.places.items()}
    numbers: dict[str, Any] = {}
    if notes is not None:
        numbers = {name: note_to_number(name, note) for name, note in notes.numbers.items()}
        if notes.checksums.keys() != found.keys() or numbers.keys() & found.keys():
            refuse("its notes are on other leaves than it has")
    content = Content(header, notes, found, numbers)
    if notes is not None and notes.fingerprint != fingerprint_of(content.infos):
        refuse("its leaves do not have the fingerprint that it gives")
    return content


def _size(file: IO[bytes]) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if status.st_size or os.path.isfile(file.name) else None
