"""`peek`: the metadata and the leaves of a safetensors file, known from its header alone.

The public signatures and their documents. How a header is read is decided in `decoded_header.py`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tree_surgery._load_report import LeafInfo
from tree_surgery._public import public
from tree_surgery._types import ToRead

from .decoded_header import peek_header
from .fingerprint import fingerprint_of_infos


@public
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


@public
def peek(path_or_file: ToRead) -> FileInfo:
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
    decoded = peek_header(path_or_file)
    metadata = decoded.header.metadata if decoded.notes is None else decoded.notes.metadata
    version = None if decoded.notes is None else decoded.notes.version
    infos = decoded.infos
    return FileInfo(metadata, infos, fingerprint_of_infos(infos), version)
