"""How `save` writes a file: the header, then the data of one leaf after the other.

Here is decided how often the data is read. The header comes first in the file, but holds the
checksums of the data. In a file of our own the header is overwritten at the end. A stream of the
caller may not be able to go back, so the data is read once for the checksums and once to write it,
or held in memory between the two if it is little.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import jax.tree_util as jtu

from tree_surgery._errors import SerialiseError
from tree_surgery._streams.byte_streams import write_all
from tree_surgery._streams.checksums import Checksums, checksum_threads
from tree_surgery._streams.open_stream import PathOrFile, is_device, open_stream
from tree_surgery._streams.several_processes import agree, is_shared, written_by_one

from .encoded_tree import encode_tree
from .file_notes import check_metadata
from .header import SUFFIX
from .header_builder import HeaderBuilder
from .leaf_encoding import EncodedLeaf
from .leaf_names import name_leaves

_HELD = 1 << 20  # bytes


def write_tree(path_or_file: PathOrFile, tree: Any, metadata: Mapping[str, Any] | None) -> None:
    """Write a tree to a file. See `save`."""
    if any(map(is_shared, jtu.tree_leaves(tree))):
        return _write_together(path_or_file, tree, metadata)
    write_header_and_data(path_or_file, _header_of(tree, metadata))


def write_header_and_data(path_or_file: PathOrFile, header: HeaderBuilder) -> None:
    """Write a file whose leaves are encoded already."""
    _write(path_or_file, header, lambda: _data_of(header))


def _header_of(tree: Any, metadata: Mapping[str, Any] | None) -> HeaderBuilder:
    checked = check_metadata(metadata)
    return HeaderBuilder(encode_tree(name_leaves(tree).leaves), checked)


def _write_together(
    path_or_file: PathOrFile, tree: Any, metadata: Mapping[str, Any] | None
) -> None:
    """All processes of a job gather the leaves, and process 0 writes them."""
    failure: BaseException | None = None
    header: Any = None
    try:
        header = _header_of(tree, metadata)
        _check_path(path_or_file, header)
    except BaseException as error:
        failure = error
    agree(failure, "prepare it")
    parts = [functools.partial(_bytes_of, name, leaf) for name, leaf in header.leaves.items()]
    written_by_one(lambda data: _write(path_or_file, header, lambda: data), parts)


def _check_path(path_or_file: PathOrFile, header: HeaderBuilder) -> None:
    """Refuses what cannot be written in one go, or by one process."""
    is_path = isinstance(path_or_file, str | bytes | os.PathLike)
    if is_path and not is_device(Path(os.fsdecode(path_or_file))):
        return
    shared = next(name for name, leaf in header.leaves.items() if is_shared(leaf.source))
    raise SerialiseError(
        "other processes hold a part of the array. Save in a file at a path, which one process "
        "writes for all, or gather it by `jax.experimental.multihost_utils.process_allgather`."
    ).at(shared)


def _write(
    path_or_file: PathOrFile, header: HeaderBuilder, data: Callable[[], Iterator[tuple[str, Any]]]
) -> None:
    with open_stream(path_or_file, SUFFIX, write=True) as (file, ours), checksum_threads() as sums:
        if ours and file.seekable():
            _write_header(file, header)
            _process_data(file, header, data(), sums)
            file.flush()
            file.seek(0)
            _write_header(file, header)
        else:
            if header.size <= _HELD:
                data = functools.partial(iter, list(data()))
            _process_data(None, header, data(), sums)
            _write_header(file, header)
            _process_data(file, header, data(), sums)


def _write_header(file: IO[bytes], header: HeaderBuilder) -> None:
    write_all(file, memoryview(header.render()))


def _data_of(header: HeaderBuilder) -> Iterator[tuple[str, Any]]:
    """The name and the bytes of one leaf after the other."""
    for name, leaf in header.leaves.items():
        yield _bytes_of(name, leaf)


def _bytes_of(name: str, leaf: EncodedLeaf) -> tuple[str, Any]:
    try:
        return name, leaf.data()
    except SerialiseError as error:
        raise error.at(name) from error.__cause__


def _process_data(
    file: IO[bytes] | None,
    header: HeaderBuilder,
    leaves: Iterator[tuple[str, Any]],
    sums: Checksums,
) -> None:
    """Compute the checksum of each leaf, and write its data unless `file` is `None`."""
    for name, data in leaves:
        try:
            checksum = sums.of(data) if file is None else sums.write(file, data)
        except OSError as error:
            error.add_note(f"At leaf `{name}`.")
            raise
        del data
        header.set_checksum(name, checksum)
